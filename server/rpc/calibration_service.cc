// CalibrationService: batches in, statistics out.

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "octet/v1/calibration_service.grpc.pb.h"
#include "server/bundle/bundle.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration.h"
#include "server/rpc/backend.h"
#include "server/rpc/messages.h"
#include "server/rpc/reactors.h"
#include "server/rpc/resource_names.h"
#include "server/rpc/services.h"
#include "server/rpc/tensors.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerReadReactor;
using grpc::ServerUnaryReactor;
using quantization::Calibration;
using quantization::LayerStatistics;

// As the API promises: a crash costs at most this many batches of a stream.
constexpr int64_t kBatchesPerSave = 16;
constexpr float kOutlierMagnitude = 6.0F;  // LLM.int8's, as the API says
constexpr size_t kShownOutliers = 64;

void FillOutliers(const LayerStatistics& statistics,
                  v1::LayerActivations* out) {
  std::vector<int32_t> columns =
      quantization::OutlierColumns(statistics, kOutlierMagnitude);
  out->set_outlier_count(static_cast<int64_t>(columns.size()));
  const auto& absmax = statistics.column_absmax;
  std::sort(columns.begin(), columns.end(), [&](int32_t a, int32_t b) {
    return absmax[a] != absmax[b] ? absmax[a] > absmax[b] : a < b;
  });
  columns.resize(std::min(columns.size(), kShownOutliers));
  for (const int32_t column : columns) {
    v1::OutlierFeature* feature = out->add_outliers();
    feature->set_column(column);
    feature->set_absmax(absmax[column]);
  }
}

void FillHistogram(const LayerStatistics& statistics,
                   v1::LayerActivations* out) {
  const auto& bins = statistics.histogram;
  const auto counted = [](uint64_t count) { return count != 0; };
  const auto first = std::find_if(bins.begin(), bins.end(), counted);
  const auto last = std::find_if(bins.rbegin(), bins.rend(), counted).base();
  for (auto bin = first; bin < last; ++bin) {
    const auto index = static_cast<double>(bin - bins.begin());
    v1::HistogramBin* item = out->add_histogram();
    item->set_lower_bound(index == 0 ? 0.0 : std::exp2((index - 64) / 2));
    item->set_count(static_cast<int64_t>(*bin));
  }
}

void Fill(std::string_view layer, const LayerStatistics& statistics,
          v1::LayerActivations* out) {
  out->set_layer(std::string(layer));
  out->set_row_count(static_cast<int64_t>(statistics.rows));
  out->set_min(statistics.min);
  out->set_max(statistics.max);
  out->set_mean(statistics.mean());
  out->set_sigma(statistics.sigma());
  FillOutliers(statistics, out);
  FillHistogram(statistics, out);
}

// Everything but the layers.
absl::Status FillSummary(const CalibrationStore& store, std::string_view id,
                         const Calibration& calibration, v1::Calibration* out) {
  ASSIGN_OR_RETURN(const absl::Time created, store.CreateTime(id));
  out->set_name(ResourceName(kCalibrations, id));
  out->set_checkpoint(ResourceName(kCheckpoints, calibration.checkpoint));
  out->set_batch_count(static_cast<int64_t>(calibration.batches));
  out->set_sample_count(static_cast<int64_t>(calibration.samples));
  out->set_duplicate_sample_count(
      static_cast<int64_t>(calibration.duplicate_samples));
  for (std::string& warning : calibration.Warnings()) {
    out->add_warnings(std::move(warning));
  }
  *out->mutable_create_time() = ToTimestamp(created);
  return absl::OkStatus();
}

absl::StatusOr<model::Graph> ImportGraph(
    const bundle::DirectoryStore& checkpoints, const std::string& id) {
  ASSIGN_OR_RETURN(const auto directory, checkpoints.Find(id));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenModelFiles(directory));
  return model::Import(files.configs, *files.tensors);
}

// In execution order; by name once the checkpoint is gone.
void FillLayers(const bundle::DirectoryStore& checkpoints,
                const Calibration& calibration, v1::Calibration* out) {
  const auto graph = ImportGraph(checkpoints, calibration.checkpoint);
  if (!graph.ok()) {
    for (const auto& [layer, statistics] : calibration.layers) {
      Fill(layer, statistics, out->add_layers());
    }
    return;
  }
  for (const model::Linear* linear : graph->Linears()) {
    const auto found = calibration.layers.find(linear->layer);
    if (found == calibration.layers.end()) continue;
    Fill(found->first, found->second, out->add_layers());
  }
}

// One stream into one calibration. What it accepted is saved every few
// batches and before it ends in whatever way.
class BatchStream final
    : public StreamHandler<v1::UploadCalibrationBatchesRequest> {
 public:
  BatchStream(Backend* backend, v1::UploadCalibrationBatchesResponse* response)
      : backend_(*backend), response_(response) {}

  // A stream that was cut off by the server itself still keeps its batches.
  ~BatchStream() override {
    const absl::Status saved = Save();
    if (!saved.ok()) {
      spdlog::error("calibration '{}' could not be saved: {}", id_,
                    saved.ToString());
    }
  }

  absl::Status OnMessage(
      const v1::UploadCalibrationBatchesRequest& message) override {
    RETURN_IF_ERROR(SelectCalibration(message.calibration()));
    const absl::Status observed = Observe(message);
    if (!observed.ok()) {
      RETURN_IF_ERROR(Save());
      return InsideField(model::StrCat("batches[", accepted_batches_, "]"),
                         observed);
    }
    ++accepted_batches_;
    ++unsaved_batches_;
    return unsaved_batches_ < kBatchesPerSave ? absl::OkStatus() : Save();
  }

  absl::Status OnEnd() override {
    if (!calibration_) {
      return FieldViolation("calibration", "the stream ended before it");
    }
    RETURN_IF_ERROR(Save());
    response_->set_accepted_batches(accepted_batches_);
    response_->set_accepted_samples(
        static_cast<int64_t>(calibration_->samples - samples_before_));
    return FillSummary(backend_.calibrations, id_, *calibration_,
                       response_->mutable_calibration());
  }

 private:
  absl::Status SelectCalibration(const std::string& name) {
    if (calibration_) {
      if (name.empty() || name == ResourceName(kCalibrations, id_)) {
        return absl::OkStatus();
      }
      return FieldViolation("calibration", "must not change within a stream");
    }
    ASSIGN_OR_RETURN(id_, ParseName("calibration", kCalibrations, name));
    ASSIGN_OR_RETURN(lease_, backend_.leases.Acquire(name));
    ASSIGN_OR_RETURN(Calibration loaded, backend_.calibrations.Load(id_));
    ASSIGN_OR_RETURN(graph_,
                     ImportGraph(backend_.checkpoints, loaded.checkpoint));
    samples_before_ = loaded.samples;
    calibration_ = std::move(loaded);
    return absl::OkStatus();
  }

  absl::Status Observe(const v1::UploadCalibrationBatchesRequest& message) {
    if (message.has_inputs()) return ObserveInputs(message.inputs());
    if (message.has_activations()) {
      return ObserveActivations(message.activations());
    }
    return FieldViolation("batch", "neither inputs nor activations are set");
  }

  absl::Status ObserveInputs(const v1::ModelInputs& inputs) {
    ASSIGN_OR_RETURN(const model::ModelInput batch,
                     DecodeInputs(inputs, graph_));
    if (model_ == nullptr) {
      ASSIGN_OR_RETURN(model_,
                       backend_.float_models.Load(backend_.checkpoints,
                                                  calibration_->checkpoint));
    }
    return quantization::ObserveInputs(*model_, batch, backend_.pool,
                                       *calibration_);
  }

  absl::Status ObserveActivations(const v1::NamedActivations& activations) {
    ASSIGN_OR_RETURN(
        const FloatMatrix rows,
        FloatMatrix::Decode("activations.rows", activations.rows()));
    return quantization::ObserveActivations(graph_, activations.layer(),
                                            rows.view(), *calibration_);
  }

  absl::Status Save() {
    if (unsaved_batches_ == 0) return absl::OkStatus();
    RETURN_IF_ERROR(backend_.calibrations.Save(id_, *calibration_));
    unsaved_batches_ = 0;
    return absl::OkStatus();
  }

  Backend& backend_;
  v1::UploadCalibrationBatchesResponse* const response_;
  std::string id_;
  Lease lease_;
  model::Graph graph_;
  std::optional<Calibration> calibration_;
  std::shared_ptr<const model::Model> model_;  // when inputs come
  int64_t accepted_batches_ = 0;
  int64_t unsaved_batches_ = 0;
  uint64_t samples_before_ = 0;
};

class CalibrationService final
    : public v1::CalibrationService::CallbackService {
 public:
  CalibrationService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerUnaryReactor* CreateCalibration(
      CallbackServerContext* context,
      const v1::CreateCalibrationRequest* request,
      v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/CreateCalibration", context,
                 request, response,
                 [=, this](const Call&) { return Create(*request, response); });
  }

  ServerReadReactor<v1::UploadCalibrationBatchesRequest>*
  UploadCalibrationBatches(
      CallbackServerContext* /*context*/,
      v1::UploadCalibrationBatchesResponse* response) override {
    return Consume<v1::UploadCalibrationBatchesRequest>(
        edge_, "CalibrationService/UploadCalibrationBatches", response,
        std::make_unique<BatchStream>(&backend_, response));
  }

  ServerUnaryReactor* GetCalibration(CallbackServerContext* context,
                                     const v1::GetCalibrationRequest* request,
                                     v1::Calibration* response) override {
    return Reply(
        edge_, "CalibrationService/GetCalibration", context, request, response,
        [=, this](const Call&) -> absl::Status {
          ASSIGN_OR_RETURN(const std::string id,
                           ParseName("name", kCalibrations, request->name()));
          ASSIGN_OR_RETURN(const Calibration calibration,
                           backend_.calibrations.Load(id));
          FillLayers(backend_.checkpoints, calibration, response);
          return FillSummary(backend_.calibrations, id, calibration, response);
        });
  }

  ServerUnaryReactor* MergeCalibrations(
      CallbackServerContext* context,
      const v1::MergeCalibrationsRequest* request,
      v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/MergeCalibrations", context,
                 request, response,
                 [=, this](const Call&) { return Merge(*request, response); });
  }

  ServerUnaryReactor* ListCalibrations(
      CallbackServerContext* context,
      const v1::ListCalibrationsRequest* request,
      v1::ListCalibrationsResponse* response) override {
    return Reply(edge_, "CalibrationService/ListCalibrations", context, request,
                 response, [=, this](const Call&) {
                   List(response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* DeleteCalibration(
      CallbackServerContext* context,
      const v1::DeleteCalibrationRequest* request,
      google::protobuf::Empty* response) override {
    return Reply(edge_, "CalibrationService/DeleteCalibration", context,
                 request, response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kCalibrations, request->name()));
                   ASSIGN_OR_RETURN(const Lease lease,
                                    backend_.leases.Acquire(request->name()));
                   return backend_.calibrations.Remove(id);
                 });
  }

 private:
  absl::Status Create(const v1::CreateCalibrationRequest& request,
                      v1::Calibration* response) {
    const std::string& id = request.calibration_id();
    RETURN_IF_ERROR(bundle::ValidateId("calibration_id", id));
    ASSIGN_OR_RETURN(
        const std::string checkpoint,
        ParseName("checkpoint", kCheckpoints, request.checkpoint()));
    RETURN_IF_ERROR(backend_.checkpoints.Find(checkpoint).status());
    ASSIGN_OR_RETURN(const Lease lease,
                     backend_.leases.Acquire(ResourceName(kCalibrations, id)));
    RETURN_IF_ERROR(backend_.calibrations.Create(id, checkpoint));
    Calibration empty;
    empty.checkpoint = checkpoint;
    return FillSummary(backend_.calibrations, id, empty, response);
  }

  absl::Status Merge(const v1::MergeCalibrationsRequest& request,
                     v1::Calibration* response) {
    ASSIGN_OR_RETURN(const std::string into_id,
                     ParseName("into", kCalibrations, request.into()));
    if (request.from().empty()) {
      return FieldViolation("from", "names no calibration");
    }
    ASSIGN_OR_RETURN(const Lease lease,
                     backend_.leases.Acquire(request.into()));
    ASSIGN_OR_RETURN(Calibration into, backend_.calibrations.Load(into_id));
    for (int i = 0; i < request.from_size(); ++i) {
      const std::string field = model::StrCat("from[", i, "]");
      ASSIGN_OR_RETURN(const std::string id,
                       ParseName(field, kCalibrations, request.from(i)));
      if (id == into_id) return FieldViolation(field, "is `into` itself");
      ASSIGN_OR_RETURN(const Calibration from, backend_.calibrations.Load(id));
      const absl::Status merged = quantization::Merge(from, into);
      if (!merged.ok()) return InsideField(field, merged);
    }
    RETURN_IF_ERROR(backend_.calibrations.Save(into_id, into));
    FillLayers(backend_.checkpoints, into, response);
    return FillSummary(backend_.calibrations, into_id, into, response);
  }

  // One that was deleted meanwhile is left out.
  void List(v1::ListCalibrationsResponse* response) const {
    for (const std::string& id : backend_.calibrations.List()) {
      const auto calibration = backend_.calibrations.Load(id);
      v1::Calibration item;
      if (calibration.ok() &&
          FillSummary(backend_.calibrations, id, *calibration, &item).ok()) {
        *response->add_calibrations() = std::move(item);
      }
    }
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeCalibrationService(const Edge& files,
                                                      Backend* backend) {
  return std::make_unique<CalibrationService>(files, backend);
}

}  // namespace octet::rpc
