#include "server/model/importer.h"

#include <array>
#include <string_view>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/model/import_support.h"
#include "server/model/json_fields.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

struct Family {
  std::string_view model_type;
  absl::StatusOr<Graph> (*import)(const ConfigFiles&, const TensorSource&);
};

constexpr std::array<Family, 3> kFamilies = {{
    {"bert", ImportBert},
    {"mlp", ImportMlp},
    {"linear_set", ImportLinearSet},
}};

}  // namespace

absl::StatusOr<Graph> Import(const ConfigFiles& configs,
                             const TensorSource& tensors) {
  if (!configs.contains("config.json")) {
    return ImportLinearSet(configs, tensors);
  }
  ASSIGN_OR_RETURN(const JsonFields config,
                   JsonFields::Parse(configs, "config.json"));
  ASSIGN_OR_RETURN(const std::string model_type, config.Text("model_type"));
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family.import(configs, tensors);
  }
  return absl::UnimplementedError(StrCat(
      "config.json: no importer for 'model_type' '", model_type.substr(0, 40),
      "'; there are bert, mlp and linear_set"));
}

}  // namespace octet::model
