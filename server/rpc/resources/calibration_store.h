// Calibrations on disk: one directory each, its file replaced atomically, so
// that readers never wait for a stream that writes.

#ifndef OCTET_SERVER_RPC_RESOURCES_CALIBRATION_STORE_H_
#define OCTET_SERVER_RPC_RESOURCES_CALIBRATION_STORE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/bundle/directory_store.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::rpc {

class CalibrationStore {
 public:
  // Discards what a crash left half made.
  static absl::StatusOr<CalibrationStore> Open(std::filesystem::path root);

  // ALREADY_EXISTS.
  absl::Status Create(std::string_view id,
                      const quantization::Calibration& calibration) const;

  absl::StatusOr<quantization::Calibration> Load(
      std::string_view id,
      quantization::Load what = quantization::Load::kAll) const;
  absl::Status Save(std::string_view id,
                    const quantization::Calibration& calibration) const;
  absl::StatusOr<absl::Time> CreateTime(std::string_view id) const;
  // Of a calibration that exists.
  absl::StatusOr<std::filesystem::path> File(std::string_view id) const;

  std::vector<std::string> List() const { return store_.List(); }
  absl::Status Remove(std::string_view id) const { return store_.Remove(id); }

 private:
  explicit CalibrationStore(bundle::DirectoryStore store);
  bundle::DirectoryStore store_;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_CALIBRATION_STORE_H_
