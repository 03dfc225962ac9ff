# R1_CUDA=ON: finds nvcc and turns the CUDA language on, for the .cu files that modules add to their own targets.
#
# Nothing else changes: no definition reaches the C++ files, so a CUDA build adds object files and links more libraries.
find_program(R1_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
if(NOT R1_NVCC)
  message(FATAL_ERROR "R1_CUDA is ON and nvcc is neither on PATH nor in /usr/local/cuda/bin. "
                      "Install the CUDA toolkit 12.4 or newer and put its bin folder on PATH, "
                      "or build without CUDA: cmake --preset release")
endif()
find_program(R1_CUDA_HOST_COMPILER NAMES g++-14 g++-13 g++-12 g++)  # nvcc 13.0 does not know clang 19's headers yet
set(CMAKE_CUDA_COMPILER "${R1_NVCC}")
if(R1_CUDA_HOST_COMPILER)
  set(CMAKE_CUDA_HOST_COMPILER "${R1_CUDA_HOST_COMPILER}")
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)  # A100; H100, H800 and H200
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # r1_kernels names it: CUDA::cudart, shared, so that it is the one that LibTorch has loaded
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know yet how nvcc spells it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)
