"""Compares what the modules include with what CMake says they depend on, and both with the layers of the project.

    check_layers.py [repository]     prints each fault with file, what was found and what to do; exit code 1 if there is any

Checked:
  1. `#include "r1/<module>/..."` and `#include "kernels/..."` of include/r1/<module>, src/<module> and kernels/ against
     DEPENDS of that module's r1_module(): nothing missing, nothing superfluous.
  2. DEPENDS against ALLOWED below, the arrows of the layout. It has no cycle, so the build has none.
  3. LibTorch headers only in modules with TORCH, and TORCH not in NO_TORCH.
  4. spdlog only in src/util/log.cpp: its fmt and LibTorch's do not compile in one file.
  5. `#pragma once` in every header of include/.
  6. No include through "..": another module's private headers stay private.
  7. Every .cpp of a module and of its tests is named in the CMakeLists.txt beside it; a forgotten test passes for ever.
"""

import os
import re
import sys

# module: what it may depend on directly
ALLOWED = {
    "util": set(),
    "kernels": {"util"},
    "dist": {"util"},
    "tokenizer": {"util"},
    "reward": {"util"},
    "report": {"util"},
    "ops": {"kernels", "util"},
    "data": {"tokenizer", "util"},
    "algo": {"ops", "util"},
    "model": {"ops", "dist", "util"},
    "rollout": {"model", "tokenizer", "ops", "util"},
    # kernels: for the thread pool and the name of the instruction set, and train for AdamW's pass
    "train": {"model", "data", "rollout", "reward", "algo", "dist", "tokenizer", "ops", "kernels", "util"},
    "pipeline": {"train", "model", "data", "rollout", "reward", "algo", "dist", "tokenizer", "ops", "kernels", "util"},
    # the pipes (tokenize, logprobs, generate, import, export, doctor) work on one module each
    # dist: for who this rank is, before and after there is a run
    "apps": {"pipeline", "report", "train", "data", "rollout", "reward", "model", "tokenizer", "dist", "ops", "kernels", "util"},
}
NO_TORCH = {"util", "tokenizer", "data", "reward", "report"}
SOURCE_ENDINGS = (".h", ".cpp", ".cu", ".cuh")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)


class Module:
    def __init__(self, name, folder):
        self.name = name
        self.folder = folder  # of its sources, relative to the repository
        self.depends = set()
        self.torch = False
        self.included_by = {}  # other module: the first file that includes it
        self.torch_included_by = None


def source_files(root, folder):
    for path, _, files in sorted(os.walk(os.path.join(root, folder))):
        for file in sorted(files):
            if file.endswith(SOURCE_ENDINGS):
                yield os.path.relpath(os.path.join(path, file), root)


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def cmake_calls(text, command):
    """The argument words of each call of a CMake command, comments left out."""
    text = re.sub(r"#[^\n]*", "", text)
    for call in re.finditer(rf"\b{command}\s*\(([^()]*)\)", text):
        yield [word.strip('"') for word in re.findall(r'"[^"]*"|[^\s"]+', call.group(1))]


def read_module(root, name):
    folder = "kernels" if name == "kernels" else f"src/{name}"
    lists = f"{folder}/CMakeLists.txt"
    if not os.path.exists(os.path.join(root, lists)):
        return None
    module = Module(name, folder)
    calls = [words for words in cmake_calls(read(root, lists), "r1_module") if words and words[0] == name]
    if len(calls) != 1:
        raise SystemExit(f"{lists}: {len(calls)} calls of r1_module({name} ...); accepted: one")
    keyword = None
    for word in calls[0][1:]:
        if word in ("SOURCES", "DEPENDS", "LIBS"):
            keyword = word
        elif word == "TORCH":
            module.torch = True
        elif keyword == "DEPENDS":
            module.depends.add(word)
    return module


def check_includes(root, module, faults):
    for folder in (f"include/r1/{module.name}", module.folder):
        for path in source_files(root, folder):
            text = read(root, path)
            if path.startswith("include/") and path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
                faults.append(f"{path}: a public header without #pragma once; add it as the first line of code")
            for quote, name in INCLUDE.findall(text):
                parts = name.split("/")
                other = parts[1] if parts[0] == "r1" and len(parts) > 2 else "kernels" if parts[0] == "kernels" else None
                if other and other != module.name:
                    if other not in ALLOWED:
                        faults.append(f'{path}: includes "{name}", and there is no module {other}')
                    else:
                        module.included_by.setdefault(other, path)
                if ".." in parts:
                    faults.append(f'{path}: includes "{name}"; a private header of another folder, make it public or move it')
                if parts[0] == "spdlog" and path != "src/util/log.cpp":
                    faults.append(f'{path}: includes <{name}>; spdlog belongs to src/util/log.cpp alone, use "r1/util/log.h"')
                if parts[0] in ("torch", "ATen", "c10") and module.torch_included_by is None:
                    module.torch_included_by = path


def check_depends(module, faults):
    lists = f"{module.folder}/CMakeLists.txt"
    for other in sorted(set(module.included_by) - module.depends):
        faults.append(f"{module.included_by[other]}: module {module.name} includes headers of {other}, but r1_module({module.name}) "
                      f"in {lists} does not name it; add {other} to DEPENDS")
    for other in sorted(module.depends - set(module.included_by)):
        faults.append(f"{lists}: r1_module({module.name}) DEPENDS {other}, but no file of {module.name} includes a header of "
                      f"{other}; take {other} out")
    for other in sorted((module.depends | set(module.included_by)) - ALLOWED[module.name] - {module.name}):
        allowed = ", ".join(sorted(ALLOWED[module.name])) or "nothing"
        where = module.included_by.get(other, lists)
        faults.append(f"{where}: module {module.name} must not depend on {other}; accepted: {allowed} (ALLOWED in check_layers.py)")
    if module.name in NO_TORCH and (module.torch or module.torch_included_by):
        faults.append(f"{module.torch_included_by or lists}: module {module.name} must not use LibTorch")
    elif module.torch_included_by and not module.torch:
        faults.append(f"{module.torch_included_by}: includes LibTorch, but r1_module({module.name}) in {lists} has no TORCH; add it")


def check_listed(root, folder, faults):
    """Every source below a folder is named in the CMakeLists.txt of the folder."""
    lists = os.path.join(folder, "CMakeLists.txt")
    exists = os.path.exists(os.path.join(root, lists))
    words = set(re.findall(r"[^\s\"()]+", re.sub(r"#[^\n]*", "", read(root, lists)))) if exists else set()
    for path in source_files(root, folder):
        if path.endswith((".cpp", ".cu")) and os.path.relpath(path, folder) not in words:
            faults.append(f"{path}: not named in {lists}, so it is never built; add it to SOURCES or remove the file")


def check(root):
    faults = []
    for name in ALLOWED:
        module = read_module(root, name)
        if module is None:
            orphans = [path for folder in (f"include/r1/{name}", "kernels" if name == "kernels" else f"src/{name}")
                       for path in source_files(root, folder)]
            if orphans:
                faults.append(f"{orphans[0]}: module {name} has no CMakeLists.txt with r1_module({name} ...)")
            continue
        check_includes(root, module, faults)
        check_depends(module, faults)
        check_listed(root, module.folder, faults)
        check_listed(root, f"tests/{name}", faults)
    for folder in ("include/r1", "src"):
        if os.path.isdir(os.path.join(root, folder)):
            for name in sorted(os.listdir(os.path.join(root, folder))):
                if name not in ALLOWED and any(source_files(root, f"{folder}/{name}")):
                    faults.append(f"{folder}/{name}: an unknown module; accepted: {', '.join(ALLOWED)} (ALLOWED in check_layers.py)")
    return faults


def main(root):
    faults = check(root)
    for fault in faults:
        print(fault)
    print(f"check_layers: {len(faults)} faults" if faults else "check_layers: includes, CMake and layers agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
