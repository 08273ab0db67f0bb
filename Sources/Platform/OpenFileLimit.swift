import Glibc

/// Raises this process's soft limit of open files to its hard limit, at most to about a million, by setrlimit(2).
/// `now` is the limit in force afterwards; `before` the setting that was in force, for children that know nothing of it,
/// nil if nothing was changed.
package func raiseOpenFileLimit() -> (now: Int, before: Spawn.Limit?) {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0 else { return (1024, nil) }
    let before = limit
    limit.rlim_cur = max(before.rlim_cur, min(before.rlim_max, 1 << 20))
    let isRaised = limit.rlim_cur != before.rlim_cur && setrlimit(resource, &limit) == 0
    let now = Int(min(isRaised ? limit.rlim_cur : before.rlim_cur, 1 << 30))
    let setting = Spawn.Limit(
        resource: Int32(RLIMIT_NOFILE.rawValue), soft: UInt64(before.rlim_cur), hard: UInt64(before.rlim_max))
    return (now, isRaised ? setting : nil)
}
