// What waits for one model, by priority, and what of it runs next.
//
// Shares are kept with virtual time: who is served pays work / weight, and who
// has paid least is next. Who comes back after a pause starts where the others
// are, so that nobody saves up turns; priorities all start anew when nothing
// waited. They have weights 16, 4 and 1: a lower one waits longer, but never
// for ever. Equals are served in order.

#ifndef OCTET_SERVER_SERVING_MODEL_QUEUE_H_
#define OCTET_SERVER_SERVING_MODEL_QUEUE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/serving/batch.h"
#include "server/serving/scheduler.h"
#include "server/serving/step_run.h"

namespace octet::serving {

// Either a step, whose first items may have been taken, or a task.
struct Waiting {
  std::shared_ptr<StepRun> step;
  PieceRange rest;  // of the step
  std::unique_ptr<Task> task;
  absl::Time since;

  Priority priority() const;
  size_t rows() const;
  absl::Status WhyStop() const;
  // Reports that it does not run; counted as dropped from the queue.
  void Drop(const absl::Status& why, telemetry::Metrics* metrics) const;
};

// What one worker does next: a batch, or a task.
struct Turned {
  std::vector<Piece> pieces;
  std::unique_ptr<Task> task;
  absl::Time since;  // of the task
};

class ModelQueue {
 public:
  explicit ModelQueue(std::string id) : id_(std::move(id)) {}

  const std::string& id() const { return id_; }
  bool empty() const { return requests_ == 0; }
  size_t requests() const { return requests_; }
  size_t rows() const { return rows_; }
  size_t tasks() const { return tasks_; }
  // Since when the first of any priority waits. Not empty.
  absl::Time OldestSince() const;

  void Push(Waiting waiting);

  // Work of about `budget` rows, at least one item: what is next, and what can
  // run with it. Pays for it. Not empty.
  Turned Take(size_t budget);

  std::vector<Waiting> TakeAll();
  std::vector<Waiting> TakeStopped();  // what nobody waits for any more

  // In multiply-adds.
  double paid() const { return paid_; }
  void StartAt(double paid) { paid_ = std::max(paid_, paid); }

 private:
  struct Class {
    std::list<Waiting> waiting;
    double paid = 0;  // rows / weight
    double price = 1;
  };
  using Place = std::list<Waiting>::iterator;

  Class& Next();
  void Remove(Class& from, Place place);
  // As many items of `place` as fit into `budget` rows; the first one always
  // fits into an empty batch. Removes it when nothing is left of it. Returns
  // the rows.
  size_t TakePiece(Class& from, Place place, size_t budget,
                   std::vector<Piece>& pieces);
  Turned TakeTask(Class& from);

  const std::string id_;
  // High, normal, low.
  std::array<Class, 3> classes_ = {
      {{{}, 0, 1.0 / 16}, {{}, 0, 1.0 / 4}, {{}, 0, 1.0}}};
  size_t requests_ = 0;
  size_t rows_ = 0;
  size_t tasks_ = 0;
  double paid_ = 0;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_QUEUE_H_
