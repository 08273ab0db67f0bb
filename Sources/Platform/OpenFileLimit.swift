import Glibc

/// Raises this process's soft limit of open files to its hard limit, at most to about a million, by setrlimit(2).
/// Answers the setting that was in force before, for children that know nothing of it; nil if nothing was changed.
package func raiseOpenFileLimit() -> Spawn.Limit? {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0 else { return nil }
    let before = Spawn.Limit(
        resource: Int32(RLIMIT_NOFILE.rawValue), soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
    limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 1 << 20))
    guard limit.rlim_cur != before.soft, setrlimit(resource, &limit) == 0 else { return nil }
    return before
}
