#include "server/rpc/oip/statistics.h"

#include <algorithm>

namespace octet::rpc::oip {
namespace {

// A client that sends every size there is fills no more than this.
constexpr size_t kMaxBatchSizes = 64;

}  // namespace

void Statistics::Sum::Add(absl::Duration duration) {
  ++count;
  time += duration;
}

void Statistics::Sum::Fill(inference::StatisticDuration* out) const {
  out->set_count(count);
  out->set_ns(static_cast<uint64_t>(absl::ToInt64Nanoseconds(time)));
}

void Statistics::Parts::Add(const InferTimes& times) {
  input.Add(times.compute_input);
  infer.Add(times.compute_infer);
  output.Add(times.compute_output);
}

// Entries of versions that are gone, and whose address may come again, go when
// a new one comes.
Statistics::Entry& Statistics::Find(const Served& served) {
  const Key key(served.model.get(), served.layer);
  const auto found = entries_.find(key);
  if (found != entries_.end() && !found->second.model.expired()) {
    return found->second;
  }
  std::erase_if(entries_,
                [](const auto& entry) { return entry.second.model.expired(); });
  Entry& entry = entries_[key];
  entry.model = served.model;
  return entry;
}

void Statistics::Succeeded(const Served& served, size_t batch,
                           const InferTimes& times) {
  absl::MutexLock lock(&mutex_);
  Entry& entry = Find(served);
  entry.last = std::max(entry.last, times.arrival);
  entry.items += batch;
  entry.success.Add(times.total);
  entry.queue.Add(times.queue);
  entry.parts.Add(times);
  if (entry.by_batch.size() < kMaxBatchSizes ||
      entry.by_batch.contains(batch)) {
    entry.by_batch[batch].Add(times);
  }
}

void Statistics::Failed(const Served& served, absl::Duration total) {
  absl::MutexLock lock(&mutex_);
  Find(served).fail.Add(total);
}

void Statistics::Fill(const Served& served, const Entry& entry,
                      inference::ModelStatistics* out) {
  out->set_name(served.name());
  out->set_version(served.version());
  out->set_last_inference(
      static_cast<uint64_t>(absl::ToUnixMillis(entry.last)));
  out->set_inference_count(entry.items);
  out->set_execution_count(entry.success.count);
  inference::InferStatistics* sums = out->mutable_inference_stats();
  entry.success.Fill(sums->mutable_success());
  entry.fail.Fill(sums->mutable_fail());
  entry.queue.Fill(sums->mutable_queue());
  entry.parts.input.Fill(sums->mutable_compute_input());
  entry.parts.infer.Fill(sums->mutable_compute_infer());
  entry.parts.output.Fill(sums->mutable_compute_output());
  for (const auto& [size, parts] : entry.by_batch) {
    inference::InferBatchStatistics* batch = out->add_batch_stats();
    batch->set_batch_size(size);
    parts.input.Fill(batch->mutable_compute_input());
    parts.infer.Fill(batch->mutable_compute_infer());
    parts.output.Fill(batch->mutable_compute_output());
  }
  if (!served.layer.empty()) return;
  inference::MemoryUsage* memory = out->add_memory_usage();
  memory->set_type("CPU");
  memory->set_byte_size(served.model->model().resident_bytes());
}

void Statistics::Fill(const std::vector<Served>& served,
                      inference::ModelStatisticsResponse* response) const {
  absl::MutexLock lock(&mutex_);
  for (const Served& one : served) {
    const auto own = entries_.find({one.model.get(), one.layer});
    const bool known = own != entries_.end() && !own->second.model.expired();
    Fill(one, known ? own->second : Entry(), response->add_model_stats());
    if (!one.layer.empty()) continue;
    for (const auto& [key, entry] : entries_) {
      if (key.first != one.model.get() || key.second.empty()) continue;
      if (entry.model.expired()) continue;
      Fill({one.model, key.second}, entry, response->add_model_stats());
    }
  }
}

}  // namespace octet::rpc::oip
