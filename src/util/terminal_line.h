#pragma once
#include <string>

namespace r1 {

/// The one line at the bottom of a terminal that progress redraws, shared with the log so that neither writes
/// into the other: a log line clears it first, the next update draws it again.
void draw_terminal_line(const std::string& text);  ///< cut to the terminal's width
void clear_terminal_line();                        ///< nothing when none is drawn
void end_terminal_line();                          ///< keeps the text and moves to the next line

/// `text` cut to `width` characters, counted as UTF-8 code points.
std::string cut_to_width(const std::string& text, size_t width);

/// All bytes to stderr by write(2); errors are ignored, because there is nowhere to report them.
void write_stderr(const std::string& text);

}  // namespace r1
