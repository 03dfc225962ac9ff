# Imported SYSTEM target r1::torch over the LibTorch of a Python wheel.
#
# find_package(Torch) is avoided on purpose: it needs TORCH_CUDA_ARCH_LIST before it works with CMake 3.25 and takes
# over CMAKE_CUDA_ARCHITECTURES. A CPU program needs only torch_cpu and c10.
#
# R1_TORCH_DIR: the wheel's `torch` folder; scripts/setup.sh passes it.
file(GLOB r1_torch_in_venv "${CMAKE_SOURCE_DIR}/.venv/lib/python3.*/site-packages/torch")
list(APPEND r1_torch_in_venv "${CMAKE_SOURCE_DIR}/.venv")
list(GET r1_torch_in_venv 0 r1_torch_default)
set(R1_TORCH_DIR "${r1_torch_default}" CACHE PATH "the torch folder of a torch 2.11 wheel")
if(NOT EXISTS "${R1_TORCH_DIR}/include/torch/csrc/api/include/torch/torch.h")
  message(FATAL_ERROR "R1_TORCH_DIR is '${R1_TORCH_DIR}', which holds no LibTorch. "
                      "Run scripts/setup.sh, which finds or installs torch 2.11, and pass -DR1_TORCH_DIR as it prints it")
endif()
file(STRINGS "${R1_TORCH_DIR}/version.py" r1_torch_version REGEX "__version__ = ")
if(NOT r1_torch_version MATCHES "'2\\.11\\.")
  message(FATAL_ERROR "R1_TORCH_DIR is '${R1_TORCH_DIR}', whose version.py says: ${r1_torch_version}; "
                      "accepted: 2.11. Run scripts/setup.sh and pass -DR1_TORCH_DIR as it prints it")
endif()

# The wheel's CPU library still names the CUDA runtime and CUPTI; both come from wheels beside torch.
get_filename_component(r1_site_packages "${R1_TORCH_DIR}" DIRECTORY)
set(r1_torch_rpath "${R1_TORCH_DIR}/lib")
foreach(nvidia_lib IN ITEMS cu13/lib cuda_runtime/lib cuda_cupti/lib cudnn/lib nccl/lib cusparselt/lib nvshmem/lib)
  if(EXISTS "${r1_site_packages}/nvidia/${nvidia_lib}")
    list(APPEND r1_torch_rpath "${r1_site_packages}/nvidia/${nvidia_lib}")
  endif()
endforeach()

add_library(r1_torch INTERFACE)
add_library(r1::torch ALIAS r1_torch)
target_include_directories(r1_torch SYSTEM INTERFACE "${R1_TORCH_DIR}/include"
                           "${R1_TORCH_DIR}/include/torch/csrc/api/include")
target_link_libraries(r1_torch INTERFACE "${R1_TORCH_DIR}/lib/libtorch_cpu.so" "${R1_TORCH_DIR}/lib/libc10.so")
target_link_options(r1_torch INTERFACE "-Wl,--allow-shlib-undefined")
foreach(path IN LISTS r1_torch_rpath)
  target_link_options(r1_torch INTERFACE "-Wl,-rpath,${path}" "-Wl,-rpath-link,${path}")
endforeach()

# R1_CUDA=ON: the wheel's CUDA half. Nothing of ours calls into libtorch_cuda by name, yet its kernels register themselves when it
# is loaded: hence --no-as-needed. It finds its own NVIDIA libraries beside itself.
if(R1_CUDA)
  if(NOT EXISTS "${R1_TORCH_DIR}/lib/libtorch_cuda.so")
    message(FATAL_ERROR "R1_CUDA is ON and ${R1_TORCH_DIR}/lib holds no libtorch_cuda.so: this torch was built without CUDA. "
                        "Use a torch 2.11 with CUDA 13, for example `scripts/setup.sh --cuda`")
  endif()
  target_link_libraries(r1_torch INTERFACE "${R1_TORCH_DIR}/lib/libc10_cuda.so")
  target_link_options(r1_torch INTERFACE "SHELL:-Wl,--no-as-needed ${R1_TORCH_DIR}/lib/libtorch_cuda.so -Wl,--as-needed")
endif()

# The headers of the CUDA runtime, which c10/cuda wants: the toolkit's or those of the wheel beside torch. Empty: there are none.
find_path(R1_CUDA_INCLUDE cuda_runtime_api.h
          HINTS "${r1_site_packages}/nvidia/cu13/include" "${r1_site_packages}/nvidia/cuda_runtime/include" "$ENV{CUDA_HOME}/include"
                /usr/local/cuda/include)
