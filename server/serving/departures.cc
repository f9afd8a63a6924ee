#include "server/serving/departures.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "absl/time/clock.h"

namespace octet::serving {
namespace {

// How often whoever waits asks whether it still should.
constexpr absl::Duration kAskAgain = absl::Milliseconds(100);

}  // namespace

struct Departures::State {
  std::mutex mutex;  // guards what follows
  std::condition_variable gone;
  uint64_t next = 0;
  std::map<uint64_t, Leaving> leaving;  // by the number of the model
};

struct Departures::Deleter {
  std::shared_ptr<State> state;
  uint64_t number;

  void operator()(const LoadedModel* model) const {
    delete model;  // first, so that who waits finds the memory free
    const std::scoped_lock lock(state->mutex);
    if (state->leaving.erase(number) > 0) state->gone.notify_all();
  }
};

Departures::Departures() : state_(std::make_shared<State>()) {}

Departures::~Departures() = default;

std::shared_ptr<const LoadedModel> Departures::Track(
    std::unique_ptr<const LoadedModel> model) const {
  uint64_t number = 0;
  {
    const std::scoped_lock lock(state_->mutex);
    number = state_->next++;
  }
  return {model.release(), Deleter{state_, number}};
}

void Departures::Begin(const std::shared_ptr<const LoadedModel>& model) const {
  const auto* const deleter = std::get_deleter<Deleter>(model);
  const std::scoped_lock lock(state_->mutex);
  state_->leaving.emplace(
      deleter->number, Leaving{model->id(), model->version(), model->source()});
}

std::vector<Departures::Leaving> Departures::List() const {
  const std::scoped_lock lock(state_->mutex);
  std::vector<Leaving> list;
  for (const auto& [number, leaving] : state_->leaving) {
    list.push_back(leaving);
  }
  return list;
}

bool Departures::Await(std::string_view id, std::optional<int64_t> version,
                       absl::Time deadline,
                       const std::function<bool()>& cancelled) const {
  const auto all_gone = [&] {
    return std::none_of(state_->leaving.begin(), state_->leaving.end(),
                        [&](const auto& item) {
                          return item.second.id == id &&
                                 (!version || item.second.version == *version);
                        });
  };
  std::unique_lock lock(state_->mutex);
  while (!all_gone()) {
    const absl::Time now = absl::Now();
    if (now >= deadline || (cancelled && cancelled())) return false;
    state_->gone.wait_for(
        lock, absl::ToChronoNanoseconds(std::min(deadline - now, kAskAgain)));
  }
  return true;
}

}  // namespace octet::serving
