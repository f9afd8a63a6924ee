#include "server/model/part_layer.h"

#include "server/model/str_cat.h"

namespace octet::model {
namespace {

class PartLayer : public LinearLayer {
 public:
  PartLayer(const LinearLayer& stacked, size_t first, size_t count)
      : stacked_(stacked), first_(first), count_(count) {}

  absl::Status Run(kernels::MatrixView<const float> x,
                   kernels::MatrixView<float> y,
                   const kernels::LinearCall& call) const override {
    if (y.cols != count_) {
      return absl::InvalidArgumentError(
          StrCat("y has ", y.cols, " columns; expected ", count_));
    }
    return stacked_.int8()->RunColumns(first_, x, y, call);
  }
  size_t weight_bytes() const override {
    return stacked_.weight_bytes() * count_ / stacked_.int8()->out_features();
  }
  std::string_view kernel_name() const override {
    return stacked_.kernel_name();
  }
  std::string_view isa() const override { return stacked_.isa(); }

 private:
  const LinearLayer& stacked_;
  size_t first_;
  size_t count_;
};

}  // namespace

std::unique_ptr<LinearLayer> MakePartLayer(const LinearLayer& stacked,
                                           size_t first, size_t count) {
  return std::make_unique<PartLayer>(stacked, first, count);
}

}  // namespace octet::model
