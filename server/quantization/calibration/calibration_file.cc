#include "server/quantization/calibration/calibration_file.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/mapped_file.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {

absl::StatusOr<CalibrationFile> CalibrationFile::Open(
    const std::filesystem::path& file) {
  std::string name = file.filename().string();
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return absl::NotFoundError(
        model::StrCat("calibration file '", name, "' does not exist"));
  }
  ASSIGN_OR_RETURN(bundle::MappedFile mapped, bundle::MappedFile::Open(file));
  return CalibrationFile(std::move(name), std::move(mapped));
}

absl::StatusOr<Calibration> CalibrationFile::Read(Load what) const {
  absl::StatusOr<Calibration> calibration =
      ParseCalibration(bytes_.bytes(), what);
  if (calibration.ok()) return calibration;
  return absl::DataLossError(model::StrCat(
      "calibration file '", name_,
      "' is damaged: ", std::string(calibration.status().message())));
}

absl::StatusOr<Calibration> LoadCalibration(const std::filesystem::path& file,
                                            Load what) {
  ASSIGN_OR_RETURN(const CalibrationFile opened, CalibrationFile::Open(file));
  return opened.Read(what);
}

}  // namespace octet::quantization
