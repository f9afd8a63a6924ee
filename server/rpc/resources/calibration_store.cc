#include "server/rpc/resources/calibration_store.h"

#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::rpc {
namespace {

constexpr char kStatistics[] = "statistics.safetensors";
constexpr char kCreateTime[] = "create_time";

}  // namespace

CalibrationStore::CalibrationStore(bundle::DirectoryStore store)
    : store_(std::move(store)) {}

absl::StatusOr<CalibrationStore> CalibrationStore::Open(
    std::filesystem::path root) {
  ASSIGN_OR_RETURN(
      bundle::DirectoryStore store,
      bundle::DirectoryStore::Open(std::move(root), "calibration"));
  for (const std::string& id : store.ListStaged()) {
    RETURN_IF_ERROR(store.Discard(id));
  }
  return CalibrationStore(std::move(store));
}

absl::Status CalibrationStore::Create(
    std::string_view id, const quantization::Calibration& calibration) const {
  ASSIGN_OR_RETURN(const auto staged, store_.Stage(id));
  RETURN_IF_ERROR(quantization::Save(calibration, staged / kStatistics));
  RETURN_IF_ERROR(bundle::WriteFileAtomically(
      staged / kCreateTime,
      absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone())));
  return store_.Publish(id);
}

absl::StatusOr<quantization::Calibration> CalibrationStore::Load(
    std::string_view id, quantization::Load what) const {
  ASSIGN_OR_RETURN(const auto directory, store_.Find(id));
  return quantization::LoadCalibration(directory / kStatistics, what);
}

absl::Status CalibrationStore::Save(
    std::string_view id, const quantization::Calibration& calibration) const {
  ASSIGN_OR_RETURN(const auto directory, store_.Find(id));
  return quantization::Save(calibration, directory / kStatistics);
}

absl::StatusOr<std::filesystem::path> CalibrationStore::File(
    std::string_view id) const {
  ASSIGN_OR_RETURN(const auto directory, store_.Find(id));
  return directory / kStatistics;
}

absl::StatusOr<absl::Time> CalibrationStore::CreateTime(
    std::string_view id) const {
  ASSIGN_OR_RETURN(const auto directory, store_.Find(id));
  ASSIGN_OR_RETURN(const std::string text,
                   bundle::ReadSmallFile(directory / kCreateTime, 64));
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return absl::DataLossError(
        model::StrCat("calibration '", id, "' has no create time: ", error));
  }
  return time;
}

}  // namespace octet::rpc
