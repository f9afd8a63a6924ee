#include "client/cli/npy.h"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kAlignment = 64;  // of the first element, as numpy writes it

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a .npy file: ", what));
}

// Takes the header's text off the front of `bytes`.
absl::StatusOr<absl::string_view> TakeHeader(absl::string_view* bytes) {
  if (!absl::ConsumePrefix(bytes, kMagic)) return Bad("it has no magic bytes");
  if (bytes->size() < 4) return Bad("it ends in its first bytes");
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>((*bytes)[i]));
  };
  const size_t major = byte(0);
  if (major < 1 || major > 3) return Bad("its version is unknown");
  size_t size = byte(2) | byte(3) << 8;
  size_t start = 4;
  if (major >= 2) {
    if (bytes->size() < 6) return Bad("it ends in its first bytes");
    size |= byte(4) << 16 | byte(5) << 24;
    start = 6;
  }
  if (size > bytes->size() - start) return Bad("it ends in its header");
  const absl::string_view header = bytes->substr(start, size);
  bytes->remove_prefix(start + size);
  return header;
}

// The text after "'key':", up to the comma or brace that ends its value.
absl::StatusOr<absl::string_view> Value(absl::string_view header,
                                        absl::string_view key) {
  const size_t at = header.find(absl::StrCat("'", key, "':"));
  if (at == absl::string_view::npos) {
    return Bad(absl::StrCat("its header has no ", key));
  }
  absl::string_view rest = header.substr(at + key.size() + 3);
  rest = absl::StripLeadingAsciiWhitespace(rest);
  const size_t end =
      absl::StartsWith(rest, "(") ? rest.find(')') : rest.find_first_of(",}");
  if (end == absl::string_view::npos) return Bad("its header does not end");
  return absl::StripAsciiWhitespace(
      absl::StripPrefix(rest.substr(0, end), "("));
}

absl::StatusOr<std::pair<int64_t, int64_t>> ParseShape(absl::string_view text) {
  std::vector<int64_t> extents;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    int64_t extent = 0;
    if (!absl::SimpleAtoi(part, &extent) || extent < 0) {
      return Bad("its shape is not a tuple of numbers");
    }
    extents.push_back(extent);
  }
  if (extents.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the array has the shape (", text,
                     "); a matrix [rows, columns] is needed"));
  }
  return std::make_pair(extents[0], extents[1]);
}

absl::Status CheckType(absl::string_view header) {
  ASSIGN_OR_RETURN(const absl::string_view type, Value(header, "descr"));
  if (type != "'<f4'") {
    return absl::InvalidArgumentError(
        absl::StrCat("the array has the type ", type,
                     "; float32 is needed: save array.astype('<f4')"));
  }
  ASSIGN_OR_RETURN(const absl::string_view fortran,
                   Value(header, "fortran_order"));
  if (fortran != "False") {
    return absl::InvalidArgumentError(
        "the array is in Fortran order; save "
        "numpy.ascontiguousarray(array) instead");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<client::Matrix> ParseNpy(absl::string_view bytes) {
  ASSIGN_OR_RETURN(const absl::string_view header, TakeHeader(&bytes));
  RETURN_IF_ERROR(CheckType(header));
  ASSIGN_OR_RETURN(const absl::string_view shape_text, Value(header, "shape"));
  ASSIGN_OR_RETURN(const auto shape, ParseShape(shape_text));
  v1::Tensor tensor;
  tensor.set_type(v1::DATA_TYPE_F32);
  tensor.add_shape(shape.first);
  tensor.add_shape(shape.second);
  tensor.set_data(bytes.data(), bytes.size());
  absl::StatusOr<client::Matrix> matrix = client::ToMatrix(tensor);
  if (matrix.ok()) return matrix;
  return Bad(absl::StrCat("its shape is (", shape_text, "), but ", bytes.size(),
                          " bytes follow the header"));
}

std::string SerializeNpy(const client::Matrix& matrix) {
  std::string header =
      absl::StrCat("{'descr': '<f4', 'fortran_order': False, 'shape': (",
                   matrix.rows, ", ", matrix.columns, "), }");
  const size_t before = kMagic.size() + 4;
  const size_t unaligned = before + header.size() + 1;
  header.append((kAlignment - unaligned % kAlignment) % kAlignment, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += '\x01';
  bytes += '\x00';
  bytes += static_cast<char>(header.size() & 0xFF);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(matrix.values.data()),
               matrix.values.size() * sizeof(float));
  return bytes;
}

absl::StatusOr<client::Matrix> ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read ", path));
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  absl::StatusOr<client::Matrix> matrix = ParseNpy(bytes);
  if (matrix.ok()) return matrix;
  return absl::Status(matrix.status().code(),
                      absl::StrCat(path, ": ", matrix.status().message()));
}

absl::Status WriteNpy(const std::string& path, const client::Matrix& matrix) {
  std::ofstream file(path, std::ios::binary);
  if (file << SerializeNpy(matrix) && file.flush()) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("cannot write ", path));
}

}  // namespace octet::cli
