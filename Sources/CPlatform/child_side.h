// For what runs in the child between clone and exec: system calls without libc. glibc's setresuid and its like would look
// for other threads, which do not exist in the child of a raw clone; a sanitizer's interceptors might wait for a lock that
// another thread held; and a child that has given back its memory has no libc any more.
#ifndef SUPD_CHILD_SIDE_H
#define SUPD_CHILD_SIDE_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHILD_SIDE __attribute__((no_sanitize("thread")))
// The sanitizer's own memory is not to be looked through.
#define CHILD_KEEPS_MEMORY 1
#endif
#endif
#ifndef CHILD_SIDE
#define CHILD_SIDE
#endif

// A system call as the kernel has it: the result, or the errno negated. The arguments that are left out are 0.
#define CHILD_CALL(...) CHILD_CALL_PADDED(__VA_ARGS__, 0, 0, 0, 0, 0)
#define CHILD_CALL_PADDED(number, a, b, c, d, e, ...) \
    child_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

CHILD_SIDE static inline __attribute__((always_inline)) long child_call(
    long number, long a, long b, long c, long d, long e) {
#if defined(__x86_64__)
    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long call __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    __asm__ volatile("svc #0"
                     : "+r"(first)
                     : "r"(call), "r"(second), "r"(third), "r"(fourth), "r"(fifth)
                     : "memory");
    return first;
#else
#error "supd knows the system calls of x86-64 and arm64 only"
#endif
}

#endif
