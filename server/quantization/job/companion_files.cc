#include "server/quantization/job/companion_files.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::quantization {

namespace fs = std::filesystem;

namespace {

bool IsCompanionFile(const fs::path& path) {
  static constexpr std::array<std::string_view, 6> kExtensions = {
      ".json", ".txt", ".model", ".jinja", ".md", ""};
  const auto is_hidden = [](const fs::path& name) {
    return name.string().starts_with('.');
  };
  return std::none_of(path.begin(), path.end(), is_hidden) &&
         !bundle::IsBundleFile(path.string()) &&
         std::find(kExtensions.begin(), kExtensions.end(),
                   path.extension().string()) != kExtensions.end();
}

}  // namespace

absl::Status CopyCompanionFiles(const fs::path& checkpoint,
                                const fs::path& bundle) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files,
                   bundle::ListFiles(checkpoint));
  for (const std::string& file : files) {
    if (!IsCompanionFile(file)) continue;
    std::error_code error;
    fs::create_directories((bundle / file).parent_path(), error);
    fs::copy_file(checkpoint / file, bundle / file,
                  fs::copy_options::overwrite_existing, error);
    if (error) {
      return absl::InternalError(
          model::StrCat("copying '", file, "': ", error.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace octet::quantization
