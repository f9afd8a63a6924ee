#include "server/rpc/oip/server.h"

#include <string>

#include "kernels/status_macros.h"
#include "server/telemetry/build_info.h"
#include "spdlog/spdlog.h"

namespace octet::rpc::oip {

void FillServerMetadata(const SharedMemory& memory,
                        inference::ServerMetadataResponse* response) {
  response->set_name("octet");
  response->set_version(std::string(telemetry::GetBuildInfo().version));
  for (const char* extension :
       {"binary_tensor_data", "model_configuration", "model_repository",
        "parameters", "schedule_policy", "statistics"}) {
    response->add_extensions(extension);
  }
  if (memory.allowed()) response->add_extensions("system_shared_memory");
}

absl::Status FillRegions(
    const SharedMemory& memory,
    const inference::SystemSharedMemoryStatusRequest& request,
    inference::SystemSharedMemoryStatusResponse* response) {
  const std::string& wanted = request.name();
  if (!wanted.empty()) RETURN_IF_ERROR(memory.Find(wanted).status());
  for (const auto& [name, region] : memory.List()) {
    if (!wanted.empty() && name != wanted) continue;
    auto& status = (*response->mutable_regions())[name];
    status.set_name(name);
    status.set_key(region->key());
    status.set_offset(region->offset());
    status.set_byte_size(region->byte_size());
  }
  return absl::OkStatus();
}

absl::Status FillTraceSettings(const inference::TraceSettingRequest& request,
                               inference::TraceSettingResponse* response) {
  if (!request.settings().empty()) {
    return absl::UnimplementedError(
        "the server writes no traces; stages of requests are in /metrics and "
        "in ModelStatistics");
  }
  (*response->mutable_settings())["trace_level"].add_value("OFF");
  return absl::OkStatus();
}

absl::Status FillLogSettings(const inference::LogSettingsRequest& request,
                             inference::LogSettingsResponse* response) {
  if (!request.settings().empty()) {
    return absl::UnimplementedError(
        "what is logged is set when the server starts: --log-level");
  }
  const auto logs = [](spdlog::level::level_enum level) {
    return spdlog::get_level() <= level;
  };
  auto& settings = *response->mutable_settings();
  settings["log_error"].set_bool_param(logs(spdlog::level::err));
  settings["log_warning"].set_bool_param(logs(spdlog::level::warn));
  settings["log_info"].set_bool_param(logs(spdlog::level::info));
  settings["log_verbose_level"].set_uint32_param(
      logs(spdlog::level::debug) ? 1 : 0);
  return absl::OkStatus();
}

}  // namespace octet::rpc::oip
