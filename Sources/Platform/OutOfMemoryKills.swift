/// How many processes the kernel has ended for want of memory since the machine was started: oom_kill of /proc/vmstat, see
/// proc(5). In a container it is the host's. Nil where the kernel does not tell.
package func outOfMemoryKills() -> UInt64? {
    guard let bytes = try? readSmallFile("/proc/vmstat", limit: 1 << 16) else { return nil }
    return outOfMemoryKills(inVMStat: String(decoding: bytes, as: UTF8.self))
}

/// The same from the file's text.
func outOfMemoryKills(inVMStat text: String) -> UInt64? {
    for line in text.split(separator: "\n") where line.hasPrefix("oom_kill ") {
        return UInt64(line.dropFirst("oom_kill ".count))
    }
    return nil
}
