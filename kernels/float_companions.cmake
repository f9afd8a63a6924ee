# Joins the list of kernels/CMakeLists.txt: layer norm, attention, pooling and
# the float linear. Each instruction set has its own file with its own flags;
# float_companions.cc chooses at run time.
find_package(OpenMP REQUIRED)

list(APPEND OCTET_KERNELS_SOURCES
  float_attention.cc
  float_companions.cc
  float_companions_generic.cc
  float_layer_norm.cc
  float_linear.cc
  float_pooling.cc
  float_rms_norm.cc
  norm_quantize.cc
  onednn_gemm.cc)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND OCTET_KERNELS_SOURCES
    float_companions_avx2.cc
    float_companions_avx512.cc
    float_companions_avx512bf16.cc)
  set_source_files_properties(float_companions_avx2.cc PROPERTIES
    COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
  set(avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma)
  set(avx512bf16 ${avx512} -mavx512bf16)
  octet_emulate_avx512(avx512)
  octet_emulate_avx512(avx512bf16)
  set_source_files_properties(float_companions_avx512.cc PROPERTIES
    COMPILE_OPTIONS "${avx512}")
  set_source_files_properties(float_companions_avx512bf16.cc PROPERTIES
    COMPILE_OPTIONS "${avx512bf16}")
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND OCTET_KERNELS_SOURCES float_companions_neon.cc)
endif()
list(APPEND OCTET_KERNELS_PRIVATE_DEPS DNNL::dnnl OpenMP::OpenMP_CXX)
