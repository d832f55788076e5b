#pragma once
// ir::Code as text, one operation a line; parse.h reads it back.
//
//   code 0x100 to 0x108, 2 guest instructions     the bytes of the page, where each guest instruction begins below
//   at 0x100, 4 bytes, 1 left                     an instruction of the guest: its length, and how many follow it
//     %0 = get.i64 r10
//     %1 = load.i32.signed %0, 16                 name, type, condition or flag; arguments, register, imm
//     set r10, %1
//   at 0x104, 4 bytes, 0 left
//     jump 0x80                                   a byte of the page
//
// An operation of only one type has none in its name. %N is the operation's place. What follows a ';' is a comment.
#include <string>

#include "ir/code.h"

namespace doppel::ir {

/// The whole, with a newline behind each line. parse() of it gives an equal Code where that was sound (verify.h).
std::string print(const Code& code);

/// One operation, without indentation or newline.
std::string print(const Code& code, Value value);

}  // namespace doppel::ir
