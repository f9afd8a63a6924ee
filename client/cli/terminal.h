// What the terminal can show.

#ifndef OCTET_CLIENT_CLI_TERMINAL_H_
#define OCTET_CLIENT_CLI_TERMINAL_H_

#include <cstddef>

namespace octet::cli {

// Columns of the terminal behind `descriptor`; without a terminal, what COLUMNS
// says, and no end of them when neither does.
size_t TerminalWidth(int descriptor);

bool IsTerminal(int descriptor);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_TERMINAL_H_
