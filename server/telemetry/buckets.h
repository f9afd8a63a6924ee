// Upper bounds of histogram buckets: 1, 2, 5 per decade for times, so that a
// quantile is never off by more than a factor of 2.5.

#ifndef OCTET_SERVER_TELEMETRY_BUCKETS_H_
#define OCTET_SERVER_TELEMETRY_BUCKETS_H_

#include "prometheus/histogram.h"

namespace octet::telemetry {

using Buckets = prometheus::Histogram::BucketBoundaries;

// 20 us to 10 s: a small MatMul to a large upload.
inline const Buckets& RpcBuckets() {
  static const Buckets buckets = {20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3,
                                  2e-3,  5e-3,  10e-3,  20e-3,  50e-3,  0.1,
                                  0.2,   0.5,   1.0,    2.0,    5.0,    10.0};
  return buckets;
}

// Stages are parts of a request: they start lower.
inline const Buckets& StageBuckets() {
  static const Buckets buckets = {2e-6,   5e-6,   10e-6, 20e-6, 50e-6, 100e-6,
                                  200e-6, 500e-6, 1e-3,  2e-3,  5e-3,  10e-3,
                                  20e-3,  50e-3,  0.1,   0.2,   0.5,   1.0,
                                  2.0,    5.0,    10.0};
  return buckets;
}

// Rows of one computation, by powers of two.
inline const Buckets& RowBuckets() {
  static const Buckets buckets = {1,   2,   4,   8,    16,   32,   64,
                                  128, 256, 512, 1024, 2048, 4096, 8192};
  return buckets;
}

// Requests of one computation.
inline const Buckets& RequestBuckets() {
  static const Buckets buckets = {0, 1, 2, 4, 8, 16, 32, 64, 128, 256};
  return buckets;
}

// A quantization: under a second for a small model, an hour for a large one.
inline const Buckets& JobBuckets() {
  static const Buckets buckets = {0.5, 1,   2,   5,   10,   30,
                                  60,  120, 300, 600, 1800, 3600};
  return buckets;
}

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_BUCKETS_H_
