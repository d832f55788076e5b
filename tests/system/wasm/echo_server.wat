;; Accepts one connection on descriptor 3 and sends back what comes, until its end.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $sock_recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $sock_send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $check (param $error i32)
    (if (local.get $error) (then (call $proc_exit (local.get $error)))))
  (func (export "_start")
    (local $connection i32)
    (call $check (call $sock_accept (i32.const 3) (i32.const 0) (i32.const 0)))
    (local.set $connection (i32.load (i32.const 0)))
    (block $end
      (loop $more
        (i32.store (i32.const 0) (i32.const 0x1000))
        (i32.store (i32.const 4) (i32.const 0x1000))
        (call $check (call $sock_recv (local.get $connection) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 4)
          (i32.const 12)))
        (br_if $end (i32.eqz (i32.load (i32.const 4))))
        (call $check (call $sock_send (local.get $connection) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
        (br $more)))))
