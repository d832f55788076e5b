#pragma once
// What changes how instructions execute (Unprivileged ISA 5, 6, 16; Privileged ISA): the interpreter does it, and
// control goes on where it says. Included by translate.cc.
#include "guest/riscv64/translate_integer.h"

namespace doppel::riscv64::translation {

constexpr auto ecall = &by_interpreter_last;
constexpr auto ebreak = &by_interpreter_last;
constexpr auto fence_i = &by_interpreter_last;
constexpr auto csrrw = &by_interpreter_last;
constexpr auto csrrs = &by_interpreter_last;
constexpr auto csrrc = &by_interpreter_last;
constexpr auto csrrwi = &by_interpreter_last;
constexpr auto csrrsi = &by_interpreter_last;
constexpr auto csrrci = &by_interpreter_last;
constexpr auto pause = &by_interpreter_last;
constexpr auto wrs_nto = &by_interpreter_last;
constexpr auto wrs_sto = &by_interpreter_last;
constexpr auto sret = &by_interpreter_last;
constexpr auto mret = &by_interpreter_last;
constexpr auto wfi = &by_interpreter_last;
constexpr auto sfence_vma = &by_interpreter_last;
constexpr auto sinval_vma = &by_interpreter_last;
constexpr auto sfence_w_inval = &by_interpreter_last;
constexpr auto sfence_inval_ir = &by_interpreter_last;

}  // namespace doppel::riscv64::translation
