#pragma once
// Transformations of ir::Code, one file each. Each leaves code that does the same, and takes time in proportion to its
// length.
#include "ir/code.h"

namespace doppel::ir {

/// Lets loads and stores off one base share a look-up in the software TLB: the first of them gets an Op::window over
/// all, in front of it. Not for code whose first instruction lies on two pages.
void share_tlb_checks(Code& code);

/// Values that are the same become one, arithmetic on known or extended values becomes simpler: extensions whose result
/// only matters in its low bits go, comparisons join the branches and selections that look at them.
void simplify(Code& code);

}  // namespace doppel::ir
