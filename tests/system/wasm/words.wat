;; Prints its arguments and its environment, a word a line; its status is how many those are.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 64)
  ;; 0: count, 4: bytes, 8: a piece to write, 16: written, 0x100000: pointers, 0x200000: the strings
  (func $print_words
    (local $at i32) (local $end i32)
    (local.set $at (i32.const 0x200000))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 4))))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (if (i32.eqz (i32.load8_u (local.get $at))) (then (i32.store8 (local.get $at) (i32.const 10))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 8) (i32.const 0x200000))
    (i32.store (i32.const 12) (i32.load (i32.const 4)))
    (block $written
      (loop $rest
        (br_if $written (i32.eqz (i32.load (i32.const 12))))
        (br_if $written (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.load (i32.const 16))))
        (i32.store (i32.const 12) (i32.sub (i32.load (i32.const 12)) (i32.load (i32.const 16))))
        (br $rest))))
  (func (export "_start")
    (local $count i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $count (i32.load (i32.const 0)))
    (drop (call $args_get (i32.const 0x100000) (i32.const 0x200000)))
    (call $print_words)
    (drop (call $environ_sizes_get (i32.const 0) (i32.const 4)))
    (local.set $count (i32.add (local.get $count) (i32.load (i32.const 0))))
    (drop (call $environ_get (i32.const 0x100000) (i32.const 0x200000)))
    (call $print_words)
    (call $proc_exit (local.get $count))))
