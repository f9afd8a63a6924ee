// What the load generator sends: sentence embeddings over the Open Inference
// Protocol, one sequence of token ids per request, serialized beforehand so
// that a run costs its client as little as can be.

#ifndef OCTET_TESTS_BENCHMARKS_LOAD_REQUESTS_H_
#define OCTET_TESTS_BENCHMARKS_LOAD_REQUESTS_H_

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "grpcpp/support/byte_buffer.h"

namespace octet::benchmarks {

class Requests {
 public:
  // `file` holds a JSON list of lists of token ids; taken in an order that
  // `seed` shuffles, again and again. Throws std::runtime_error.
  Requests(const std::filesystem::path& file, const std::string& model,
           const std::string& output, unsigned seed);

  // The next one; from any thread.
  const grpc::ByteBuffer& Next() {
    return requests_[next_.fetch_add(1) % requests_.size()];
  }

 private:
  std::vector<grpc::ByteBuffer> requests_;
  std::atomic<size_t> next_ = 0;
};

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_LOAD_REQUESTS_H_
