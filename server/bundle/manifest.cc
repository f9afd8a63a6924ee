#include "server/bundle/manifest.h"

#include <cmath>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::string_view kFile = "octet.json";

// The schema, once for reading and writing: `v(name, field)` for each field.

template <typename V>
void Fields(V& v, model::LinearScheme& scheme) {
  v("scheme", scheme.scheme);
  v("outlier_threshold", scheme.outlier_threshold);
  v("group_size", scheme.group_size);
  v("hadamard_block", scheme.hadamard_block);
  v("smoothed", scheme.smoothed);
}

template <typename V>
void Fields(V& v, LayerRange& range) {
  v("rows", range.rows);
  v("min", range.min);
  v("max", range.max);
  v("absmax", range.absmax);
  v("sigma", range.sigma);
}

template <typename V>
void Fields(V& v, ErrorMeasures& measures) {
  v("sqnr_db", measures.sqnr_db);
  v("cosine", measures.cosine);
  v("max_error", measures.max_error);
}

template <typename V>
void Fields(V& v, LayerReport& layer) {
  v("layer", layer.layer);
  v("scheme", layer.scheme);
  v("rows", layer.rows);
  v("cols", layer.cols);
  v("float_bytes", layer.float_bytes);
  v("stored_bytes", layer.stored_bytes);
  v("weight", layer.weight);
  v("output", layer.output);
  v("output_rows", layer.output_rows);
  v("zero_channels", layer.zero_channels);
  v("outlier_columns", layer.outlier_columns);
  v("reason", layer.reason);
}

template <typename V>
void Fields(V& v, QuantizationReport& report) {
  v("layers", report.layers);
  v("model", report.model);
  v("mean_row_cosine", report.mean_row_cosine);
  v("worst_row_cosine", report.worst_row_cosine);
  v("model_rows", report.model_rows);
  v("linear_float_bytes", report.linear_float_bytes);
  v("linear_stored_bytes", report.linear_stored_bytes);
  v("checkpoint_bytes", report.checkpoint_bytes);
  v("bundle_bytes", report.bundle_bytes);
  v("warnings", report.warnings);
}

template <typename V>
void Fields(V& v, Provenance& provenance) {
  v("checkpoint", provenance.checkpoint);
  v("calibration", provenance.calibration);
  v("octet_version", provenance.octet_version);
  v("create_time", provenance.create_time);
}

template <typename V>
void Fields(V& v, FileDigest& digest) {
  v("size_bytes", digest.size_bytes);
  v("sha256", digest.sha256);
}

template <typename V>
void Fields(V& v, Manifest& manifest) {
  v("format_version", manifest.format_version);
  v("family", manifest.family);
  v("plan", manifest.plan);
  v("statistics", manifest.statistics);
  v("report", manifest.report);
  v("provenance", manifest.provenance);
  v("compressed_tensors", manifest.compressed_tensors);
  v("files", manifest.files);
}

// JSON has no infinities: they are strings, as in protobuf's JSON.
constexpr std::pair<std::string_view, double> kSpecial[] = {
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"-Infinity", -std::numeric_limits<double>::infinity()},
    {"NaN", std::numeric_limits<double>::quiet_NaN()}};

class Writer {
 public:
  template <typename T>
  void operator()(const char* name, T& field) {
    // push_back, not []: ordered_json looks a key up by walking all of them.
    json_.push_back({name, Value(field)});
  }

  template <typename T>
  static ordered_json Object(T& object) {
    Writer writer;
    Fields(writer, object);
    return std::move(writer.json_);
  }

 private:
  static ordered_json Value(model::Scheme scheme) {
    return std::string(model::Name(scheme));
  }

  static ordered_json Value(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return number;
  }
  static ordered_json Value(float number) {
    return Value(static_cast<double>(number));
  }

  static ordered_json Value(std::string& text) { return text; }

  template <typename T>
  static ordered_json Value(std::vector<T>& items) {
    ordered_json list = ordered_json::array();
    for (T& item : items) list.push_back(Value(item));
    return list;
  }

  template <typename T, typename Less>
  static ordered_json Value(std::map<std::string, T, Less>& entries) {
    ordered_json object = ordered_json::object();
    for (auto& [key, value] : entries) object.push_back({key, Value(value)});
    return object;
  }

  template <typename T>
  static ordered_json Value(T& value) {
    if constexpr (std::is_integral_v<T>) {
      return value;
    } else {
      return Object(value);
    }
  }

  ordered_json json_ = ordered_json::object();
};

// Reads one object's fields: all must be there, and no others. After the
// first error nothing more is read.
class Reader {
 public:
  Reader(const json& object, std::string path, absl::Status& status)
      : object_(object), path_(std::move(path)), status_(status) {}

  template <typename T>
  void operator()(const char* name, T& field) {
    known_.insert(name);
    if (!status_.ok()) return;
    const auto it = object_.find(name);
    const std::string path =
        path_.empty() ? name : model::StrCat(path_, ".", name);
    if (it == object_.end()) return Fail(path, "is missing");
    Read(*it, path, field);
  }

  template <typename T>
  static void Object(const json& value, const std::string& path, T& object,
                     absl::Status& status) {
    Reader reader(value, path, status);
    if (!value.is_object()) return reader.Fail(path, "must be an object");
    Fields(reader, object);
    reader.RefuseUnknown();
  }

 private:
  void Fail(std::string_view path, std::string_view problem) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(model::StrCat(
        kFile, ": ", path.empty() ? "" : model::StrCat(path, ": "), problem));
  }

  void RefuseUnknown() {
    for (const auto& [key, value] : object_.items()) {
      if (!known_.contains(key)) {
        Fail(path_, model::StrCat("unknown field ", Quoted(key)));
      }
    }
  }

  void Read(const json& value, const std::string& path, std::string& text) {
    if (!value.is_string()) return Fail(path, "must be a string");
    text = value.get_ref<const std::string&>();
  }

  void Read(const json& value, const std::string& path, model::Scheme& scheme) {
    std::string name;
    Read(value, path, name);
    if (!status_.ok()) return;
    const absl::StatusOr<model::Scheme> parsed = model::ParseScheme(name);
    if (!parsed.ok()) return Fail(path, std::string(parsed.status().message()));
    scheme = *parsed;
  }

  void Read(const json& value, const std::string& path, double& number) {
    if (value.is_number()) {
      number = value.get<double>();
      return;
    }
    for (const auto& [name, special] : kSpecial) {
      if (value.is_string() && value.get_ref<const std::string&>() == name) {
        number = special;
        return;
      }
    }
    Fail(path, "must be a number, \"Infinity\", \"-Infinity\" or \"NaN\"");
  }

  void Read(const json& value, const std::string& path, float& number) {
    double wide = 0;
    Read(value, path, wide);
    if (std::isfinite(wide) &&
        std::abs(wide) > std::numeric_limits<float>::max()) {
      return Fail(path, "does not fit FP32");
    }
    number = static_cast<float>(wide);
  }

  void Read(const json& value, const std::string& path, uint64_t& number) {
    if (!value.is_number_unsigned()) {
      return Fail(path, "must be a non-negative integer");
    }
    number = value.get<uint64_t>();
  }

  void Read(const json& value, const std::string& path, bool& truth) {
    if (!value.is_boolean()) return Fail(path, "must be true or false");
    truth = value.get<bool>();
  }

  template <typename T>
    requires std::is_integral_v<T>
  void Read(const json& value, const std::string& path, T& number) {
    uint64_t wide = 0;
    Read(value, path, wide);
    if (!std::in_range<T>(wide)) return Fail(path, "is too large");
    number = static_cast<T>(wide);
  }

  template <typename T>
  void Read(const json& value, const std::string& path, std::vector<T>& items) {
    if (!value.is_array()) return Fail(path, "must be an array");
    items.resize(value.size());
    for (size_t i = 0; i < items.size() && status_.ok(); ++i) {
      Read(value[i], model::StrCat(path, "[", i, "]"), items[i]);
    }
  }

  template <typename T, typename Less>
  void Read(const json& value, const std::string& path,
            std::map<std::string, T, Less>& entries) {
    if (!value.is_object()) return Fail(path, "must be an object");
    for (const auto& [key, entry] : value.items()) {
      Read(entry, model::StrCat(path, ".", key), entries[key]);
      if (!status_.ok()) return;
    }
  }

  template <typename T>
    requires std::is_class_v<T>
  void Read(const json& value, const std::string& path, T& object) {
    Object(value, path, object, status_);
  }

  const json& object_;
  const std::string path_;
  absl::Status& status_;
  std::set<std::string, std::less<>> known_;
};

// What the types alone do not say.
absl::Status CheckValues(const Manifest& manifest) {
  for (const auto& [layer, scheme] : manifest.plan) {
    if (const absl::Status status = model::Validate(scheme); !status.ok()) {
      return absl::InvalidArgumentError(model::StrCat(
          kFile, ": plan.", layer, ".", std::string(status.message())));
    }
  }
  for (const auto& [path, digest] : manifest.files) {
    RETURN_IF_ERROR(
        ValidateRelativePath(model::StrCat(kFile, ": files"), path));
    if (path == kFile) {
      return absl::InvalidArgumentError(
          model::StrCat(kFile, ": files: the manifest can not list itself"));
    }
    if (!IsSha256(digest.sha256)) {
      return absl::InvalidArgumentError(
          model::StrCat(kFile, ": files.", path,
                        ".sha256: must be 64 characters of [0-9a-f]"));
    }
  }
  return absl::OkStatus();
}

// Before all else: a later version may have other fields.
absl::Status CheckVersion(const json& document) {
  if (!document.is_object()) {
    return absl::InvalidArgumentError(
        model::StrCat(kFile, ": must be an object"));
  }
  const auto version = document.find("format_version");
  if (version == document.end() || !version->is_number_integer()) {
    return absl::InvalidArgumentError(
        model::StrCat(kFile, ": format_version: must be an integer"));
  }
  if (*version != kFormatVersion) {
    return absl::InvalidArgumentError(model::StrCat(
        kFile, ": format_version: this server reads ", kFormatVersion, ", not ",
        version->dump(), "; quantize the checkpoint again"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ToJson(const Manifest& manifest) {
  Manifest copy = manifest;  // Fields takes what it could also fill in
  return model::StrCat(JsonText(Writer::Object(copy), 2), "\n");
}

absl::StatusOr<Manifest> ParseManifest(std::string_view text) {
  ASSIGN_OR_RETURN(const json document, ParseJson(kFile, text));
  RETURN_IF_ERROR(CheckVersion(document));
  Manifest manifest;
  absl::Status status;
  Reader::Object(document, "", manifest, status);
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(CheckValues(manifest));
  return manifest;
}

}  // namespace octet::bundle
