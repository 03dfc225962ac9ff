# r1_embed(target NAMESPACE r1::report::embedded FILES page/page.html page/style.css ...)
#
# Text files become `extern const std::string_view <file name with _ for other characters>` of the target: page.html is page_html.
# They are embedded again when they change. No file may hold the text `)r1embed"`.
#
# As a script (cmake -DOUT=... -DNAMESPACE=... -DFILES=a|b -P Embed.cmake) it writes that source.
if(CMAKE_SCRIPT_MODE_FILE)
  string(REPLACE "|" ";" files "${FILES}")
  file(WRITE "${OUT}.tmp" "#include <string_view>\nnamespace ${NAMESPACE} {\n")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME)
    string(MAKE_C_IDENTIFIER "${name}" name)
    file(READ "${file}" text)
    file(APPEND "${OUT}.tmp" "extern const std::string_view ${name};\nconst std::string_view ${name} = R\"r1embed(")
    file(APPEND "${OUT}.tmp" "${text}")
    file(APPEND "${OUT}.tmp" ")r1embed\";\n")
  endforeach()
  file(APPEND "${OUT}.tmp" "}\n")
  file(RENAME "${OUT}.tmp" "${OUT}")
  return()
endif()

set(r1_embed_script "${CMAKE_CURRENT_LIST_FILE}")
function(r1_embed target)
  cmake_parse_arguments(arg "" "NAMESPACE" "FILES" ${ARGN})
  list(TRANSFORM arg_FILES PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  string(REPLACE ";" "|" joined "${arg_FILES}")
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}_embedded.cpp")
  add_custom_command(OUTPUT "${out}" DEPENDS ${arg_FILES} "${r1_embed_script}" VERBATIM COMMENT "embedding ${target}'s files"
                     COMMAND "${CMAKE_COMMAND}" "-DOUT=${out}" "-DNAMESPACE=${arg_NAMESPACE}" "-DFILES=${joined}" -P "${r1_embed_script}")
  target_sources(${target} PRIVATE "${out}")
endfunction()
