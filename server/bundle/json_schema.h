// A schema of JSON, written once for reading and writing. A type has
//
//   template <typename V>
//   void Fields(V& v, Point& point) {
//     v("x", point.x);
//     v("y", point.y);
//   }
//
// beside it in octet::bundle, and JsonWriter::Object and JsonReader::Object do
// the rest. A reader asks for every field and accepts no other; a field that
// came after files had been written says v.Later("z", point.z), and keeps its
// default where a file lacks it.

#ifndef OCTET_SERVER_BUNDLE_JSON_SCHEMA_H_
#define OCTET_SERVER_BUNDLE_JSON_SCHEMA_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "server/bundle/io.h"
#include "server/model/scheme.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

// JSON has no infinities: they are strings, as in protobuf's JSON.
inline constexpr std::pair<std::string_view, double> kSpecialNumbers[] = {
    {"Infinity", std::numeric_limits<double>::infinity()},
    {"-Infinity", -std::numeric_limits<double>::infinity()},
    {"NaN", std::numeric_limits<double>::quiet_NaN()}};

class JsonWriter {
 public:
  template <typename T>
  void operator()(const char* name, T& field) {
    // push_back, not []: nlohmann::ordered_json looks a key up by walking all
    // of them.
    json_.push_back({name, Value(field)});
  }

  template <typename T>
  void Later(const char* name, T& field) {
    (*this)(name, field);
  }

  template <typename T>
  static nlohmann::ordered_json Object(T& object) {
    JsonWriter writer;
    Fields(writer, object);
    return std::move(writer.json_);
  }

 private:
  static nlohmann::ordered_json Value(model::Scheme scheme) {
    return std::string(model::Name(scheme));
  }

  static nlohmann::ordered_json Value(double number) {
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
    return number;
  }
  static nlohmann::ordered_json Value(float number) {
    return Value(static_cast<double>(number));
  }

  static nlohmann::ordered_json Value(std::string& text) { return text; }

  template <typename T>
  static nlohmann::ordered_json Value(std::vector<T>& items) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (T& item : items) list.push_back(Value(item));
    return list;
  }

  template <typename T, typename Less>
  static nlohmann::ordered_json Value(std::map<std::string, T, Less>& entries) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (auto& [key, value] : entries) object.push_back({key, Value(value)});
    return object;
  }

  template <typename T>
  static nlohmann::ordered_json Value(T& value) {
    if constexpr (std::is_integral_v<T>) {
      return value;
    } else {
      return Object(value);
    }
  }

  nlohmann::ordered_json json_ = nlohmann::ordered_json::object();
};

// Reads one object's fields: all must be there, and no others. After the
// first error nothing more is read.
class JsonReader {
 public:
  // `document` is how messages call it: "octet.json".
  JsonReader(std::string_view document, const nlohmann::json& object,
             std::string path, absl::Status& status)
      : document_(document),
        object_(object),
        path_(std::move(path)),
        status_(status) {}

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
  void Later(const char* name, T& field) {
    known_.insert(name);
    if (object_.contains(name)) (*this)(name, field);
  }

  template <typename T>
  static void Object(std::string_view document, const nlohmann::json& value,
                     const std::string& path, T& object, absl::Status& status) {
    JsonReader reader(document, value, path, status);
    if (!value.is_object()) return reader.Fail(path, "must be an object");
    Fields(reader, object);
    reader.RefuseUnknown();
  }

 private:
  void Fail(std::string_view path, std::string_view problem) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        model::StrCat(document_, ": ",
                      path.empty() ? "" : model::StrCat(path, ": "), problem));
  }

  void RefuseUnknown() {
    for (const auto& [key, value] : object_.items()) {
      if (!known_.contains(key)) {
        Fail(path_, model::StrCat("unknown field ", Quoted(key)));
      }
    }
  }

  void Read(const nlohmann::json& value, const std::string& path,
            std::string& text) {
    if (!value.is_string()) return Fail(path, "must be a string");
    text = value.get_ref<const std::string&>();
  }

  void Read(const nlohmann::json& value, const std::string& path,
            model::Scheme& scheme) {
    std::string name;
    Read(value, path, name);
    if (!status_.ok()) return;
    const absl::StatusOr<model::Scheme> parsed = model::ParseScheme(name);
    if (!parsed.ok()) return Fail(path, std::string(parsed.status().message()));
    scheme = *parsed;
  }

  void Read(const nlohmann::json& value, const std::string& path,
            double& number) {
    if (value.is_number()) {
      number = value.get<double>();
      return;
    }
    for (const auto& [name, special] : kSpecialNumbers) {
      if (value.is_string() && value.get_ref<const std::string&>() == name) {
        number = special;
        return;
      }
    }
    Fail(path, "must be a number, \"Infinity\", \"-Infinity\" or \"NaN\"");
  }

  void Read(const nlohmann::json& value, const std::string& path,
            float& number) {
    double wide = 0;
    Read(value, path, wide);
    if (std::isfinite(wide) &&
        std::abs(wide) > std::numeric_limits<float>::max()) {
      return Fail(path, "does not fit FP32");
    }
    number = static_cast<float>(wide);
  }

  void Read(const nlohmann::json& value, const std::string& path,
            uint64_t& number) {
    if (!value.is_number_unsigned()) {
      return Fail(path, "must be a non-negative integer");
    }
    number = value.get<uint64_t>();
  }

  void Read(const nlohmann::json& value, const std::string& path, bool& flag) {
    if (!value.is_boolean()) return Fail(path, "must be true or false");
    flag = value.get<bool>();
  }

  template <typename T>
    requires std::is_integral_v<T>
  void Read(const nlohmann::json& value, const std::string& path, T& number) {
    uint64_t wide = 0;
    Read(value, path, wide);
    if (!std::in_range<T>(wide)) return Fail(path, "is too large");
    number = static_cast<T>(wide);
  }

  template <typename T>
  void Read(const nlohmann::json& value, const std::string& path,
            std::vector<T>& items) {
    if (!value.is_array()) return Fail(path, "must be an array");
    items.resize(value.size());
    for (size_t i = 0; i < items.size() && status_.ok(); ++i) {
      Read(value[i], model::StrCat(path, "[", i, "]"), items[i]);
    }
  }

  template <typename T, typename Less>
  void Read(const nlohmann::json& value, const std::string& path,
            std::map<std::string, T, Less>& entries) {
    if (!value.is_object()) return Fail(path, "must be an object");
    for (const auto& [key, entry] : value.items()) {
      Read(entry, model::StrCat(path, ".", key), entries[key]);
      if (!status_.ok()) return;
    }
  }

  template <typename T>
    requires std::is_class_v<T>
  void Read(const nlohmann::json& value, const std::string& path, T& object) {
    Object(document_, value, path, object, status_);
  }

  const std::string_view document_;
  const nlohmann::json& object_;
  const std::string path_;
  absl::Status& status_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_JSON_SCHEMA_H_
