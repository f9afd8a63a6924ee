# octet-server and the octet client on Debian 12. Nothing is fetched but Debian
# packages; deploy/container/verify.sh builds this and serves a request from it.
#
#   docker build -t octet \
#     --build-arg OCTET_REVISION="$(git rev-parse --short=12 HEAD)" .
#   docker run -p 8001:8001 -p 8002:8002 -v octet-data:/data octet

FROM debian:bookworm-slim AS build
COPY deploy/apt/build.txt /tmp/build.txt
RUN apt-get update \
 && xargs -a /tmp/build.txt env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY proto proto
COPY kernels kernels
COPY server server
COPY client client
# What octet_build_info says; .git does not come along.
ARG OCTET_REVISION=
RUN cmake --preset release -DOCTET_REVISION="${OCTET_REVISION}" \
      -DOCTET_BUILD_TESTS=OFF -DOCTET_BUILD_BENCHMARKS=OFF \
 && cmake --build --preset release --target octet-server octet \
 && install -D -s -t /out build/release/bin/octet-server build/release/bin/octet

FROM debian:bookworm-slim
# The version that the protocol and the metrics report.
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="octet" \
      org.opencontainers.image.description="INT8 quantization and serving over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libabsl20220623 \
      libarchive13 \
      libdnnl2 \
      libgrpc++1.51 \
      libisal2 \
      libprometheus-cpp-core1.0 \
      libprometheus-cpp-pull1.0 \
      libprotobuf32 \
      libspdlog1.10 \
      libssl3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 65532 --user-group --home-dir /data \
      --no-create-home --shell /usr/sbin/nologin octet \
 && install -d -o octet -g octet -m 0750 /data
COPY --from=build /out/octet-server /out/octet /usr/local/bin/

# By number, so that an orchestrator can see that this is not root.
USER 65532:65532
ENV OCTET_DATA_DIR=/data
VOLUME /data
# gRPC; metrics.
EXPOSE 8001 8002
# 0 while the server says SERVING. It asks 127.0.0.1:8001, or OCTET_SERVER; with
# TLS it needs OCTET_CLIENT_TLS_CA and more (deploy/README.md).
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["octet", "health"]
ENTRYPOINT ["octet-server"]
