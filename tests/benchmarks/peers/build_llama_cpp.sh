#!/bin/sh
# Builds llama.cpp for this computer into a virtual environment of its own: build_llama_cpp.sh PYTHON FOLDER.
#
# From the source of llama-cpp-python come the library and llama-server (FOLDER/built/bin), and the package itself, which
# loads that library where LLAMA_CPP_LIB_PATH names it: so everything is compiled once. GGML_NATIVE uses all that the CPU
# has. A Mac gets Metal, llama.cpp's default there. Needs a C++ compiler; CMake and ninja come from PyPI.
set -eu
python=$1
folder=$2
# The package declares the C structures of this very version (engines/llama_cpp.py fills them).
version=0.3.36

"$python" -m venv --clear "$folder"
cd "$folder"
pip() { bin/python -m pip --quiet --disable-pip-version-check "$@"; }
pip install cmake ninja
pip download --no-deps --no-binary llama-cpp-python --dest . "llama-cpp-python==$version"
tar -xzf "llama_cpp_python-$version.tar.gz"
PATH=$PWD/bin:$PATH
cmake -G Ninja -S "llama_cpp_python-$version/vendor/llama.cpp" -B built -DCMAKE_BUILD_TYPE=Release \
    -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
cmake --build built --target llama-server
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" pip install "./llama_cpp_python-$version"
