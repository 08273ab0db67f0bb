import Glibc

/// An entry of the user database.
package struct Account: Sendable, Hashable {
    /// The login name.
    package var name: String
    /// The user id.
    package var user: UInt32
    /// The primary group's id.
    package var group: UInt32
    /// The home directory; `/` where the entry has none.
    package var home: String
}

/// The user and group databases, as nsswitch.conf(5) puts them together.
package enum Accounts {
    /// The effective user id of this process.
    package static var ownUser: UInt32 { geteuid() }
    /// The effective group id of this process.
    package static var ownGroup: UInt32 { getegid() }

    /// The largest database entry taken, in bytes: groups may have very many members.
    private static let entryLimit = 4 << 20
    /// The most supplementary groups the kernel takes (NGROUPS_MAX).
    private static let groupLimit: Int32 = 65_536

    /// The account of a name, by getpwnam_r(3); nil if there is none.
    package static func account(named name: String) throws(SystemError) -> Account? {
        guard !name.utf8.contains(0) else { return nil }
        return try account("getpwnam_r", name) { getpwnam_r(name, $0, $1, $2, $3) }
    }

    /// The account of a user id, by getpwuid_r(3); nil if there is none.
    package static func account(of user: UInt32) throws(SystemError) -> Account? {
        try account("getpwuid_r", "\(user)") { getpwuid_r(user, $0, $1, $2, $3) }
    }

    /// The id of a group, by getgrnam_r(3); nil if there is none.
    package static func group(named name: String) throws(SystemError) -> UInt32? {
        guard !name.utf8.contains(0) else { return nil }
        return try withGrowingBuffer("getgrnam_r", name) { buffer, size in
            var entry = Glibc.group()
            var result: UnsafeMutablePointer<Glibc.group>?
            let code = getgrnam_r(name, &entry, buffer, size, &result)
            return (code, result.map { $0.pointee.gr_gid })
        }
    }

    /// All groups of a user, the given primary one included, by getgrouplist(3).
    package static func groups(ofUserNamed name: String, primary: UInt32) throws(SystemError) -> [UInt32] {
        guard !name.utf8.contains(0) else { return [primary] }
        var capacity: Int32 = 64
        while capacity <= groupLimit {
            var groups = [gid_t](repeating: 0, count: Int(capacity))
            var count = capacity
            if getgrouplist(name, primary, &groups, &count) >= 0 { return Array(groups.prefix(Int(max(0, count)))) }
            // `count` is now what it takes; not all name services say so.
            capacity = max(count, capacity &* 4)
        }
        throw SystemError(call: "getgrouplist", code: ERANGE, subject: name)
    }

    private static func account(
        _ call: String, _ subject: String,
        _ body: (
            UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
            UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
        ) -> Int32
    ) throws(SystemError) -> Account? {
        try withGrowingBuffer(call, subject) { buffer, size in
            var entry = passwd()
            var result: UnsafeMutablePointer<passwd>?
            let code = body(&entry, buffer, size, &result)
            guard let found = result?.pointee, let name = found.pw_name else { return (code, nil) }
            let home = found.pw_dir.map { String(cString: $0) } ?? ""
            return (
                code,
                Account(
                    name: String(cString: name), user: found.pw_uid, group: found.pw_gid,
                    home: home.isEmpty ? "/" : home)
            )
        }
    }

    /// Repeats a lookup with a larger buffer while it answers ERANGE, up to `entryLimit`.
    private static func withGrowingBuffer<Value>(
        _ call: String, _ subject: String, _ body: (UnsafeMutablePointer<CChar>, Int) -> (code: Int32, Value?)
    ) throws(SystemError) -> Value? {
        var size = 4096
        while true {
            var buffer = [CChar](repeating: 0, count: size)
            let (code, value) = body(&buffer, size)
            if let value { return value }
            switch code {
            // The manual page lists these as "not found" too.
            case 0, ENOENT, ESRCH, EBADF, EPERM: return nil
            case EINTR: continue
            case ERANGE where size < entryLimit: size *= 4
            default: throw SystemError(call: call, code: code, subject: subject)
            }
        }
    }
}
