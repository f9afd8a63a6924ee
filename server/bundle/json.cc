#include "server/bundle/json.h"

#include <cstdint>
#include <set>
#include <vector>

#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using nlohmann::json;

// The callbacks nlohmann's SAX parser asks for; false stops it.
class Checker {
 public:
  explicit Checker(std::string_view what) : what_(what) {}

  const absl::Status& status() const { return status_; }

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(int64_t) { return true; }
  bool number_unsigned(uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(std::string&) { return true; }
  bool binary(json::binary_t&) { return true; }
  bool start_object(size_t) { return Open(); }
  bool end_object() { return Close(); }
  bool start_array(size_t) { return Open(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    if (keys_.back().insert(name).second) return true;
    return Fail(model::StrCat("the key ", Quoted(name), " occurs twice"));
  }

  bool parse_error(size_t position, const std::string&,
                   const json::exception&) {
    return Fail(model::StrCat("not JSON at byte ", position));
  }

 private:
  bool Open() {
    keys_.emplace_back();
    if (keys_.size() <= kMaxJsonDepth) return true;
    return Fail(model::StrCat("nested deeper than ", kMaxJsonDepth, " levels"));
  }

  bool Close() {
    keys_.pop_back();
    return true;
  }

  bool Fail(std::string_view problem) {
    status_ = absl::InvalidArgumentError(model::StrCat(what_, ": ", problem));
    return false;
  }

  std::string_view what_;
  std::vector<std::set<std::string, std::less<>>> keys_;
  absl::Status status_;
};

}  // namespace

absl::Status CheckJson(std::string_view what, std::string_view text) {
  Checker checker(what);
  json::sax_parse(text, &checker);
  return checker.status();
}

}  // namespace octet::bundle
