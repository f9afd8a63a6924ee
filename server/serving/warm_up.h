// A first answer before a model is served: one that cannot answer never is.

#ifndef OCTET_SERVER_SERVING_WARM_UP_H_
#define OCTET_SERVER_SERVING_WARM_UP_H_

#include "absl/status/status.h"
#include "server/model/model.h"

namespace octet::serving {

// Runs a few tokens or one row through the model, or one row through each
// layer of a linear_set, on the calling thread. FAILED_PRECONDITION says why it
// did not answer.
absl::Status WarmUp(const model::Model& model);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_WARM_UP_H_
