#include "server/telemetry/metrics.h"

#include <cmath>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::telemetry {
namespace {

using ::testing::DoubleNear;
using ::testing::Optional;

constexpr char kForward[] = "InferenceService/Forward";

ModelDescription Description() {
  ModelDescription description;
  description.bytes = {.int8 = 100,
                       .fp16 = 20,
                       .bf16 = 0,
                       .fp32 = 80,
                       .as_fp32 = 500,
                       .linear = 100,
                       .linear_as_fp32 = 390};
  description.resident_bytes = 250;
  description.load_seconds = 0.5;
  description.kernels = {{"avx2", "dot_a"}, {"scalar", "dot_b"}};
  description.outlier_features_by_kind = {{"query", 7}, {"dense", 0}};
  return description;
}

TEST(Metrics, NoComparisonMakesASumInfinite) {
  Metrics metrics;
  metrics.ModelWatched("m", {.shadow = true, .layer_kinds = {}});
  metrics.ShadowCompared("m", -HUGE_VAL, 1);  // the reference has zeros alone
  metrics.ShadowCompared("m", HUGE_VAL, 1);
  metrics.ShadowCompared("m", 30, 1);
  const auto samples = Collect(metrics);
  EXPECT_THAT(samples.Value("octet_shadow_sqnr_decibels_sum{model=\"m\"}"),
              Optional(30));
  EXPECT_THAT(samples.Value("octet_shadow_sqnr_decibels_count{model=\"m\"}"),
              Optional(3));
}

TEST(Metrics, CallsAreCountedByMethodAndCode) {
  Metrics metrics;
  metrics.RpcStarted(kForward);
  metrics.RpcStarted(kForward);
  metrics.RpcStarted(kForward);
  metrics.RpcFinished(kForward, "OK", 0.001);
  metrics.RpcFinished(kForward, "INVALID_ARGUMENT", 0.25);
  metrics.RpcMessageBytes(kForward, kReceived, 100);
  metrics.RpcMessageBytes(kForward, kReceived, 11);
  metrics.RpcMessageBytes(kForward, kSent, 7);

  const Scrape scrape = Collect(metrics);
  const std::string method = std::string("method=\"") + kForward + "\"";
  const auto requests = [&](const std::string& code) {
    return scrape.Value("octet_rpc_requests_total{code=\"" + code + "\"," +
                        method + "}");
  };
  EXPECT_THAT(requests("OK"), Optional(1));
  EXPECT_THAT(requests("INVALID_ARGUMENT"), Optional(1));
  EXPECT_THAT(requests("INTERNAL"), Optional(0));
  EXPECT_THAT(scrape.Value("octet_rpc_in_flight{" + method + "}"), Optional(1));
  EXPECT_THAT(scrape.Value("octet_rpc_duration_seconds_count{" + method + "}"),
              Optional(2));
  EXPECT_THAT(scrape.Value("octet_rpc_duration_seconds_sum{" + method + "}"),
              Optional(DoubleNear(0.251, 1e-9)));
  const auto bytes = [&](const std::string& direction) {
    return scrape.Value("octet_rpc_message_bytes_total{direction=\"" +
                        direction + "\"," + method + "}");
  };
  EXPECT_THAT(bytes("received"), Optional(111));
  EXPECT_THAT(bytes("sent"), Optional(7));
}

TEST(Metrics, DurationsHaveBucketsFromTwentyMicrosecondsToTenSeconds) {
  Metrics metrics;
  metrics.RpcStarted("a/B");
  metrics.RpcFinished("a/B", "OK", 19e-6);
  metrics.RpcStarted("a/B");
  metrics.RpcFinished("a/B", "OK", 9.9);
  const Scrape scrape = Collect(metrics);
  const auto bucket = [&](const std::string& le) {
    return scrape.Value("octet_rpc_duration_seconds_bucket{le=\"" + le +
                        "\",method=\"a/B\"}");
  };
  EXPECT_THAT(bucket("2e-05"), Optional(1));
  EXPECT_THAT(bucket("5"), Optional(1));
  EXPECT_THAT(bucket("10"), Optional(2));
  EXPECT_THAT(bucket("+Inf"), Optional(2));
}

TEST(Metrics, AnAddedMethodHasEveryCodeAtZero) {
  Metrics metrics;
  metrics.AddRpcMethod("a/B");
  const Scrape scrape = Collect(metrics);
  EXPECT_EQ(scrape.CountWith("octet_rpc_requests_total{"), 17);
  EXPECT_THAT(
      scrape.Value(
          "octet_rpc_requests_total{code=\"UNAUTHENTICATED\",method=\"a/B\"}"),
      Optional(0));
}

TEST(Metrics, ACodeThatIsNotCanonicalCountsAsUnknown) {
  Metrics metrics;
  metrics.RpcStarted("a/B");
  metrics.RpcFinished("a/B", "teapot", 0.1);
  EXPECT_THAT(Collect(metrics).Value(
                  "octet_rpc_requests_total{code=\"UNKNOWN\",method=\"a/B\"}"),
              Optional(1));
}

TEST(Metrics, WhatRulesReadIsThereBeforeTheFirstRequest) {
  const Metrics metrics;
  const Scrape scrape = Collect(metrics);
  for (const char* sample :
       {"octet_workers", "octet_worker_busy_seconds_total",
        "octet_models_loaded", "octet_models_failed",
        "octet_work_rejected_total{reason=\"draining\"}",
        "octet_work_rejected_total{reason=\"queue_full\"}",
        "octet_work_dropped_total{reason=\"cancelled\",stage=\"queue\"}",
        "octet_work_dropped_total{reason=\"deadline_exceeded\","
        "stage=\"queue\"}",
        "octet_work_dropped_total{reason=\"shutdown\",stage=\"queue\"}",
        "octet_quantization_jobs{state=\"failed\"}",
        "octet_quantization_duration_seconds_count"}) {
    EXPECT_THAT(scrape.Value(sample), Optional(0)) << sample;
  }
}

TEST(Metrics, StagesSumUpToTheRequest) {
  Metrics metrics;
  metrics.ModelLoaded("m", Description());
  metrics.StageDuration("m", Stage::kDecode, 0.01);
  metrics.StageDuration("m", Stage::kQueue, 0.02);
  metrics.StageDuration("m", Stage::kEncode, 0.03);
  metrics.ComputeStages("m", 1.0,
                        {.quantize_ns = 100'000'000,
                         .dot_ns = 500'000'000,
                         .dequantize_ns = 50'000'000,
                         .outlier_ns = 10'000'000});
  const Scrape scrape = Collect(metrics);
  const auto sum = [&](const std::string& stage) {
    return scrape
        .Value("octet_stage_duration_seconds_sum{model=\"m\",stage=\"" + stage +
               "\"}")
        .value_or(-1);
  };
  EXPECT_DOUBLE_EQ(sum("quantize"), 0.1);
  EXPECT_DOUBLE_EQ(sum("dot"), 0.5);
  EXPECT_DOUBLE_EQ(sum("dequantize"), 0.05);
  EXPECT_DOUBLE_EQ(sum("outlier"), 0.01);
  EXPECT_NEAR(sum("float"), 0.34, 1e-12);
  EXPECT_NEAR(sum("decode") + sum("queue") + sum("quantize") + sum("dot") +
                  sum("dequantize") + sum("outlier") + sum("float") +
                  sum("encode"),
              1.06, 1e-12);
}

TEST(Metrics, CpuTimeOfManyThreadsIsScaledToTheTimeThatPassed) {
  Metrics metrics;
  metrics.ModelLoaded("m", Description());
  metrics.ComputeStages(
      "m", 1.0, {.quantize_ns = 1'000'000'000, .dot_ns = 3'000'000'000});
  const Scrape scrape = Collect(metrics);
  const std::string sum = "octet_stage_duration_seconds_sum{model=\"m\",stage=";
  EXPECT_THAT(scrape.Value(sum + "\"quantize\"}"), Optional(0.25));
  EXPECT_THAT(scrape.Value(sum + "\"dot\"}"), Optional(0.75));
  EXPECT_THAT(scrape.Value(sum + "\"float\"}"), Optional(0));
}

TEST(Metrics, LinearSecondsAddUpByKindAndPhase) {
  Metrics metrics;
  metrics.ModelLoaded("m", Description());
  for (int i = 0; i < 3; ++i) {
    metrics.LinearSeconds("m", "query",
                          {.quantize_ns = 1'000'000'000,
                           .dot_ns = 2'000'000'000,
                           .dequantize_ns = 3'000'000'000,
                           .outlier_ns = 4'000'000'000});
  }
  metrics.LinearSeconds("m", "not announced", {.dot_ns = 500'000'000});
  const Scrape scrape = Collect(metrics);
  const auto seconds = [&](const std::string& kind, const std::string& phase) {
    return scrape.Value("octet_linear_seconds_total{layer_kind=\"" + kind +
                        "\",model=\"m\",phase=\"" + phase + "\"}");
  };
  EXPECT_THAT(seconds("query", "quantize"), Optional(3));
  EXPECT_THAT(seconds("query", "dot"), Optional(6));
  EXPECT_THAT(seconds("query", "dequantize"), Optional(9));
  EXPECT_THAT(seconds("query", "outlier"), Optional(12));
  EXPECT_THAT(seconds("not announced", "dot"), Optional(0.5));
  EXPECT_THAT(seconds("dense", "dot"), Optional(0));
}

TEST(Metrics, ALoadedModelSaysItsBytesKernelsAndOutliers) {
  Metrics metrics;
  metrics.ModelLoaded("m", Description());
  metrics.Batch("m", 3, 1);
  metrics.Batch("m", 40, 2);
  const Scrape scrape = Collect(metrics);
  EXPECT_THAT(scrape.Value("octet_models_loaded"), Optional(1));
  EXPECT_THAT(
      scrape.Value("octet_weights_bytes{model=\"m\",precision=\"int8\"}"),
      Optional(100));
  EXPECT_THAT(
      scrape.Value("octet_weights_bytes{model=\"m\",precision=\"bf16\"}"),
      Optional(0));
  EXPECT_THAT(scrape.Value("octet_compression_ratio{model=\"m\"}"),
              Optional(2.5));
  EXPECT_THAT(scrape.Value("octet_linear_compression_ratio{model=\"m\"}"),
              Optional(3.9));
  EXPECT_THAT(scrape.Value("octet_model_resident_bytes{model=\"m\"}"),
              Optional(250));
  EXPECT_THAT(scrape.Value("octet_model_load_seconds{model=\"m\"}"),
              Optional(0.5));
  EXPECT_THAT(scrape.Value("octet_kernel_info{isa=\"scalar\",kernel=\"dot_b\","
                           "model=\"m\"}"),
              Optional(1));
  EXPECT_THAT(
      scrape.Value("octet_outlier_features{layer_kind=\"query\",model=\"m\"}"),
      Optional(7));
  EXPECT_THAT(scrape.Value("octet_rows_total{model=\"m\"}"), Optional(43));
  EXPECT_THAT(scrape.Value("octet_batch_rows_count{model=\"m\"}"), Optional(2));
  EXPECT_THAT(scrape.Value("octet_batch_rows_bucket{le=\"4\",model=\"m\"}"),
              Optional(1));
}

TEST(Metrics, ANewVersionKeepsCountersAndReplacesTheRest) {
  Metrics metrics;
  metrics.ModelLoaded("m", Description());
  metrics.Batch("m", 5, 1);
  ModelDescription next = Description();
  next.bytes.int8 = 64;
  next.kernels = {{"avx2", "dot_new"}};
  metrics.ModelLoaded("m", next);
  const Scrape scrape = Collect(metrics);
  EXPECT_THAT(scrape.Value("octet_rows_total{model=\"m\"}"), Optional(5));
  EXPECT_THAT(
      scrape.Value("octet_weights_bytes{model=\"m\",precision=\"int8\"}"),
      Optional(64));
  EXPECT_EQ(scrape.CountWith("octet_kernel_info{"), 1);
  EXPECT_THAT(scrape.Value("octet_models_loaded"), Optional(1));
}

TEST(Metrics, AnUnloadedModelLeavesNoSeriesAndLateReportsBringNoneBack) {
  Metrics metrics;
  metrics.ModelLoaded("gone", Description());
  metrics.ModelLoaded("stays", Description());
  EXPECT_GT(Collect(metrics).CountWith("model=\"gone\""), 0);
  const size_t of_other = Collect(metrics).CountWith("model=\"stays\"");
  metrics.ModelUnloaded("gone");
  metrics.Batch("gone", 1, 1);
  metrics.LinearSeconds("gone", "query", {.dot_ns = 1});
  metrics.StageDuration("gone", Stage::kQueue, 1);
  metrics.ComputeStages("gone", 1, {});
  metrics.ModelUnloaded("never there");
  const Scrape scrape = Collect(metrics);
  EXPECT_EQ(scrape.CountWith("model=\"gone\""), 0);
  EXPECT_EQ(scrape.CountWith("model=\"stays\""), of_other);
  EXPECT_THAT(scrape.Value("octet_models_loaded"), Optional(1));
}

TEST(Metrics, QuantizationsAreShownByState) {
  Metrics metrics;
  metrics.QuantizationJobs("running", 1);
  metrics.QuantizationJobs("succeeded", 4);
  metrics.QuantizationDone(1.5);
  const Scrape scrape = Collect(metrics);
  EXPECT_THAT(scrape.Value("octet_quantization_jobs{state=\"running\"}"),
              Optional(1));
  EXPECT_THAT(scrape.Value("octet_quantization_jobs{state=\"succeeded\"}"),
              Optional(4));
  EXPECT_THAT(scrape.Value("octet_quantization_duration_seconds_sum"),
              Optional(1.5));
}

TEST(Metrics, NothingIsLostWhileManyThreadsReportAndModelsComeAndGo) {
  Metrics metrics;
  constexpr int kThreads = 4;
  constexpr int kCalls = 500;
  metrics.ModelLoaded("stays", Description());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const std::string method = "a/" + std::to_string(i % 5);
        metrics.RpcStarted(method);
        metrics.Batch("stays", 2, 1);
        metrics.LinearSeconds("stays", "kind" + std::to_string(i % 3),
                              {.dot_ns = 1'000'000'000});
        metrics.Batch("flickers", 1, 1);
        metrics.RpcFinished(method, "OK", 1e-4);
        if (t == 0) metrics.ModelLoaded("flickers", Description());
        if (t == 1) metrics.ModelUnloaded("flickers");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Scrape scrape = Collect(metrics);
  double calls = 0;
  for (int i = 0; i < 5; ++i) {
    calls += scrape
                 .Value("octet_rpc_requests_total{code=\"OK\",method=\"a/" +
                        std::to_string(i) + "\"}")
                 .value_or(0);
  }
  EXPECT_EQ(calls, kThreads * kCalls);
  EXPECT_THAT(scrape.Value("octet_rows_total{model=\"stays\"}"),
              Optional(2 * kThreads * kCalls));
  double seconds = 0;
  for (int i = 0; i < 3; ++i) {
    seconds +=
        scrape
            .Value("octet_linear_seconds_total{layer_kind=\"kind" +
                   std::to_string(i) + "\",model=\"stays\",phase=\"dot\"}")
            .value_or(0);
  }
  EXPECT_EQ(seconds, kThreads * kCalls);
}

}  // namespace
}  // namespace octet::telemetry
