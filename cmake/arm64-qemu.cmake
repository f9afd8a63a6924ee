# Cross build for 64-bit Arm with Debian's g++-aarch64-linux-gnu; binaries run
# under qemu-aarch64-static. OCTET_ARM64_SYSROOT names a Debian arm64 root that
# holds the -dev packages; cmake/make-arm64-sysroot.sh makes one.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(OCTET_ARM64_SYSROOT "$ENV{OCTET_ARM64_SYSROOT}" CACHE PATH
    "Debian arm64 root with the -dev packages")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OCTET_ARM64_SYSROOT)
set(CMAKE_SYSROOT ${OCTET_ARM64_SYSROOT})
set(CMAKE_FIND_ROOT_PATH ${OCTET_ARM64_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64-static;-cpu;max;-L;${OCTET_ARM64_SYSROOT})

# gRPC's CMake files ask pkg-config, which would answer for the host.
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${OCTET_ARM64_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR}
    ${OCTET_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${OCTET_ARM64_SYSROOT}/usr/share/pkgconfig)
