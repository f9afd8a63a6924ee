#include "server/serving/model_queue.h"

#include <iterator>

#include "server/serving/loaded_model.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

// Whether two steps may run as one.
bool Alike(const StepRun& a, const StepRun& b) {
  return a.divisible() && b.divisible() && a.step().model == b.step().model &&
         a.step().output == b.step().output;
}

}  // namespace

Priority Waiting::priority() const {
  return task == nullptr ? step->step().priority : task->priority;
}

size_t Waiting::rows() const {
  return task == nullptr ? rest.rows : std::max<size_t>(task->rows, 1);
}

absl::Status Waiting::WhyStop() const {
  return task == nullptr ? step->WhyStop()
                         : WhyStopped(task->cancelled, task->deadline);
}

void Waiting::Drop(const absl::Status& why, telemetry::Metrics* metrics) const {
  if (task == nullptr) return step->Fail(rest, why, "queue");
  CountDropped(why, "queue", metrics);
  task->drop(why);
}

absl::Time ModelQueue::OldestSince() const {
  absl::Time oldest = absl::InfiniteFuture();
  for (const Class& each : classes_) {
    if (each.waiting.empty()) continue;
    oldest = std::min(oldest, each.waiting.front().since);
  }
  return oldest;
}

void ModelQueue::Push(Waiting waiting) {
  Class& to = classes_[static_cast<size_t>(waiting.priority())];
  if (empty()) {
    for (Class& each : classes_) each.paid = 0;
  } else if (to.waiting.empty()) {
    to.paid = std::max(to.paid, Next().paid);
  }
  requests_ += 1;
  rows_ += waiting.rows();
  if (waiting.task != nullptr) tasks_ += 1;
  to.waiting.push_back(std::move(waiting));
}

ModelQueue::Class& ModelQueue::Next() {
  Class* next = classes_.data();
  for (Class& each : classes_) {
    if (each.waiting.empty()) continue;
    if (next->waiting.empty() || each.paid < next->paid) next = &each;
  }
  return *next;
}

void ModelQueue::Remove(Class& from, Place place) {
  requests_ -= 1;
  if (place->task != nullptr) tasks_ -= 1;
  from.waiting.erase(place);
}

Turned ModelQueue::TakeTask(Class& from) {
  Waiting& head = from.waiting.front();
  const size_t rows = head.rows();
  Turned turned;
  rows_ -= rows;
  from.paid += static_cast<double>(rows) * from.price;
  paid_ += static_cast<double>(head.task->multiply_adds);
  turned.since = head.since;
  tasks_ -= 1;
  turned.task = std::move(head.task);
  Remove(from, from.waiting.begin());
  return turned;
}

size_t ModelQueue::TakePiece(Class& from, Place place, size_t budget,
                             std::vector<Piece>& pieces) {
  StepRun& run = *place->step;
  PieceRange& rest = place->rest;
  PieceRange piece = {rest.first_item, 0, rest.first_row, 0};
  while (piece.items < rest.items) {
    const size_t rows = run.RowsOf(piece.first_item + piece.items);
    const bool first = pieces.empty() && piece.items == 0;
    if (!first && piece.rows + rows > budget) break;
    piece.items += 1;
    piece.rows += rows;
  }
  if (piece.items == 0) return 0;
  pieces.push_back({place->step, piece, absl::ZeroDuration(), {}});
  rows_ -= piece.rows;
  from.paid += static_cast<double>(piece.rows) * from.price;
  paid_ += static_cast<double>(piece.rows) *
           static_cast<double>(run.step().model->multiply_adds_per_row());
  rest.first_item += piece.items;
  rest.items -= piece.items;
  rest.first_row += piece.rows;
  rest.rows -= piece.rows;
  if (rest.items == 0) Remove(from, place);
  return piece.rows;
}

Turned ModelQueue::Take(size_t budget) {
  Class& first = Next();
  if (first.waiting.front().task != nullptr) return TakeTask(first);
  Turned turned;
  size_t rows = TakePiece(first, first.waiting.begin(), budget, turned.pieces);
  const StepRun& kind = *turned.pieces.front().run;
  // The rest of its priority comes with it, then the other priorities.
  const auto fill = [&](Class& from) {
    for (Place place = from.waiting.begin();
         place != from.waiting.end() && rows < budget;) {
      const Place here = place++;
      if (here->task != nullptr || !Alike(kind, *here->step)) continue;
      const size_t taken = TakePiece(from, here, budget - rows, turned.pieces);
      if (taken == 0) break;  // the next batch begins with it
      rows += taken;
    }
  };
  fill(first);
  for (Class& other : classes_) {
    if (&other != &first) fill(other);
  }
  return turned;
}

std::vector<Waiting> ModelQueue::TakeAll() {
  std::vector<Waiting> all;
  for (Class& each : classes_) {
    std::move(each.waiting.begin(), each.waiting.end(),
              std::back_inserter(all));
    each.waiting.clear();
  }
  requests_ = rows_ = tasks_ = 0;
  return all;
}

std::vector<Waiting> ModelQueue::TakeStopped() {
  std::vector<Waiting> stopped;
  for (Class& each : classes_) {
    for (Place place = each.waiting.begin(); place != each.waiting.end();) {
      const Place here = place++;
      if (here->WhyStop().ok()) continue;
      rows_ -= here->rows();
      if (here->task != nullptr) tasks_ -= 1;
      stopped.push_back(std::move(*here));
      Remove(each, here);
    }
  }
  return stopped;
}

}  // namespace octet::serving
