#include "server/rpc/security/authorization.h"

#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

using model::StrCat;

// Enough for any of our methods; the rest of a stranger's is not repeated.
constexpr size_t kMaxMethodBytes = 100;

std::string_view Shown(std::string_view method) {
  if (method.starts_with('/')) method.remove_prefix(1);
  return method.substr(0, kMaxMethodBytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Authorizer>> Authorizer::Open(
    const std::string& token_file, bool open_reflection,
    telemetry::SecurityMetrics* metrics) {
  auto authorizer = std::unique_ptr<Authorizer>(
      new Authorizer(token_file, open_reflection, metrics));
  // Watches before it reads, so that no change falls in between.
  authorizer->watch_ = std::make_unique<FileWatch>(
      std::vector<std::string>{token_file},
      [self = authorizer.get()] { self->Reload(); });
  RETURN_IF_ERROR(authorizer->Load());
  return authorizer;
}

absl::Status Authorizer::Load() {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file_));
  absl::StatusOr<TokenTable> table = TokenTable::Parse(text);
  if (!table.ok()) {
    return absl::InvalidArgumentError(
        StrCat("'", file_, "' ", std::string(table.status().message())));
  }
  auto shared = std::make_shared<const TokenTable>(*std::move(table));
  absl::MutexLock lock(&mutex_);
  table_ = std::move(shared);
  return absl::OkStatus();
}

void Authorizer::Reload() {
  const absl::Status status = Load();
  metrics_.CredentialsReloaded("tokens", status.ok());
  if (status.ok()) {
    spdlog::info("tokens: read again, {} of them", table()->size());
  } else {
    spdlog::error("tokens: the earlier ones stay in force: {}",
                  std::string(status.message()));
  }
}

std::shared_ptr<const TokenTable> Authorizer::table() const {
  absl::ReaderMutexLock lock(&mutex_);
  return table_;
}

absl::Status Authorizer::Check(std::string_view method,
                               std::string_view authorization) const {
  const Role needed = RoleNeeded(method, open_reflection_);
  if (needed == Role::kAnyone) return absl::OkStatus();
  const std::string_view token = BearerToken(authorization);
  if (token.empty()) {
    metrics_.AuthRefused("no_token");
    return absl::UnauthenticatedError(
        StrCat(Shown(method),
               " needs a token: send the metadata 'authorization: Bearer "
               "TOKEN'"));
  }
  const auto table = this->table();
  const TokenTable::Entry* entry = table->Find(token);
  if (entry == nullptr) {
    metrics_.AuthRefused("unknown_token");
    return absl::UnauthenticatedError("the token is not known to this server");
  }
  if (entry->role < needed) {
    metrics_.AuthRefused("role");
    return absl::PermissionDeniedError(
        StrCat("token '", entry->name, "' has the role ", RoleName(entry->role),
               "; ", Shown(method), " needs ", RoleName(needed)));
  }
  return absl::OkStatus();
}

std::string Authorizer::NameOf(std::string_view authorization) const {
  const std::string_view token = BearerToken(authorization);
  if (token.empty()) return {};
  const auto table = this->table();
  const TokenTable::Entry* entry = table->Find(token);
  return entry == nullptr ? std::string() : entry->name;
}

}  // namespace octet::rpc
