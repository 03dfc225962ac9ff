# R1_MPI=ON: Open MPI (or another MPI 3) for ranks on CPUs, as MPI::MPI_CXX. Only src/dist/mpi*.cpp use it.
set(MPI_CXX_SKIP_MPICXX ON)  # the C interface alone; the C++ bindings were removed in MPI 3
find_package(MPI QUIET COMPONENTS CXX)
if(NOT MPI_CXX_FOUND)
  message(FATAL_ERROR "R1_MPI is ON and CMake finds no MPI: no mpicxx on PATH, or it does not compile. "
                      "On Debian and Ubuntu: apt-get install libopenmpi-dev openmpi-bin (scripts/setup.sh does it). "
                      "Or build without ranks on CPUs: cmake --preset release -DR1_MPI=OFF")
endif()
