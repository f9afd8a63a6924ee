// Versions that take no new requests and are still used by old ones.
//
// A tracked model tells when its last holder lets go of it, which may be after
// the registry is gone.

#ifndef OCTET_SERVER_SERVING_DEPARTURES_H_
#define OCTET_SERVER_SERVING_DEPARTURES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/serving/loaded_model.h"

namespace octet::serving {

class Departures {
 public:
  struct Leaving {
    std::string id;
    int64_t version = 0;
    std::string source;
  };

  Departures();
  ~Departures();

  std::shared_ptr<const LoadedModel> Track(
      std::unique_ptr<const LoadedModel> model) const;

  // `model` is a tracked one that serves no more. Until it is destroyed it is
  // in List.
  void Begin(const std::shared_ptr<const LoadedModel>& model) const;

  std::vector<Leaving> List() const;

  // Whether those of `id` (or the one version) are all gone, memory freed,
  // before the deadline; gives up when `cancelled`, which may be empty.
  bool Await(std::string_view id, std::optional<int64_t> version,
             absl::Time deadline, const std::function<bool()>& cancelled) const;

 private:
  struct State;
  struct Deleter;
  const std::shared_ptr<State> state_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_DEPARTURES_H_
