#include "server/model/stacked_tensors.h"

#include <algorithm>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

// ".weight" of each tensor "layer.weight", in rising order.
std::vector<std::string> SuffixesOf(const std::vector<std::string>& names,
                                    std::string_view layer) {
  const std::string prefix = StrCat(layer, ".");
  std::vector<std::string> suffixes;
  for (auto it = std::lower_bound(names.begin(), names.end(), prefix);
       it != names.end() && it->starts_with(prefix); ++it) {
    suffixes.push_back(it->substr(layer.size()));
  }
  return suffixes;
}

// The dimension that counts output channels, if there is one.
enum class Outputs : uint8_t { kNone, kFirst, kLast };

Outputs OutputsOf(std::string_view suffix) {
  if (suffix == ".weight" || suffix == ".weight_scale" || suffix == ".bias") {
    return Outputs::kFirst;
  }
  return suffix == ".outlier_weight" ? Outputs::kLast : Outputs::kNone;
}

bool HasBytesOfItsShape(const TensorView& view) {
  return view.elements() >= 0 &&
         view.bytes.size() ==
             static_cast<size_t>(view.elements()) * SizeOf(view.type);
}

// Whether two tensors agree in all dimensions but `free`.
bool FitTogether(const TensorView& a, const TensorView& b, size_t free) {
  if (a.type != b.type || a.shape.size() != b.shape.size()) return false;
  for (size_t i = 0; i < a.shape.size(); ++i) {
    if (i != free && a.shape[i] != b.shape[i]) return false;
  }
  return true;
}

// Tensors one after the other in dimension `along`.
std::vector<std::byte> Join(const std::vector<TensorView>& views,
                            size_t along) {
  size_t blocks = 1;
  for (size_t i = 0; i < along; ++i) {
    blocks *= static_cast<size_t>(views[0].shape[i]);
  }
  std::vector<std::byte> bytes;
  for (size_t block = 0; block < blocks; ++block) {
    for (const TensorView& view : views) {
      const size_t size = view.bytes.size() / blocks;
      const auto part = view.bytes.subspan(block * size, size);
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
  }
  return bytes;
}

}  // namespace

absl::StatusOr<StackedTensors> StackedTensors::Create(
    const TensorSource& tensors, const std::string& name,
    const std::vector<std::string>& parts) {
  const std::vector<std::string> names = tensors.Names();
  const std::vector<std::string> suffixes = SuffixesOf(names, parts[0]);
  StackedTensors stacked;
  for (const std::string& part : parts) {
    if (SuffixesOf(names, part) == suffixes) continue;
    return absl::FailedPreconditionError(
        StrCat("layers '", parts[0], "' and '", part,
               "' do not have the same tensors"));
  }
  for (const std::string& suffix : suffixes) {
    std::vector<TensorView> views;
    for (const std::string& part : parts) {
      ASSIGN_OR_RETURN(TensorView view, tensors.Find(StrCat(part, suffix)));
      views.push_back(std::move(view));
    }
    const TensorView& first = views[0];
    const Outputs outputs = OutputsOf(suffix);
    const size_t rank = first.shape.size();
    const size_t along = outputs == Outputs::kNone || rank == 0 ? rank
                         : outputs == Outputs::kFirst           ? 0
                                                                : rank - 1;
    const bool fit =
        std::all_of(views.begin(), views.end(), [&](const TensorView& view) {
          return HasBytesOfItsShape(view) && FitTogether(first, view, along) &&
                 (along < rank ||
                  std::equal(view.bytes.begin(), view.bytes.end(),
                             first.bytes.begin()));
        });
    if (!fit) {
      return absl::FailedPreconditionError(StrCat(
          "'", suffix.substr(1), "' differs between the parts of ", name));
    }
    Stack& stack = stacked.stacks_[StrCat(name, suffix)];
    stack.type = first.type;
    stack.shape = first.shape;
    if (along == rank) {
      stack.bytes.assign(first.bytes.begin(), first.bytes.end());
      continue;
    }
    stack.shape[along] = 0;
    for (const TensorView& view : views) {
      stack.shape[along] += view.shape[along];
    }
    stack.bytes = Join(views, along);
  }
  return stacked;
}

std::vector<std::string> StackedTensors::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, stack] : stacks_) names.push_back(name);
  return names;
}

absl::StatusOr<TensorView> StackedTensors::Find(std::string_view name) const {
  const auto found = stacks_.find(name);
  if (found == stacks_.end()) {
    return absl::NotFoundError(StrCat("no tensor '", name, "'"));
  }
  const Stack& stack = found->second;
  return TensorView{stack.type, stack.shape, stack.bytes};
}

}  // namespace octet::model
