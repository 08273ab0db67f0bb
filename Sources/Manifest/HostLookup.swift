/// What a check may look up on the machine, so that it can warn of what a start would not find there. The shell gives the
/// answers; nil is "cannot be told", about which nothing is said.
package struct HostLookup: Sendable {
    /// What a path leads to.
    package enum Entry: Sendable, Hashable {
        /// Nothing.
        case missing
        /// A directory.
        case directory
        /// A regular file; `isExecutable`: by anybody.
        case file(isExecutable: Bool)
        /// A device, a pipe, a socket.
        case other

        /// From what stat(2) says.
        package init(isThere: Bool, isDirectory: Bool, isRegular: Bool, mode: UInt32) {
            self =
                if !isThere { .missing } else if isDirectory { .directory } else if isRegular {
                    .file(isExecutable: mode & 0o111 != 0)
                } else { .other }
        }
    }

    /// Whether there is a user of this name.
    package var hasUser: @Sendable (String) -> Bool?
    /// Whether the user database knows this uid.
    package var hasUserID: @Sendable (UInt32) -> Bool?
    /// Whether there is a group of this name.
    package var hasGroup: @Sendable (String) -> Bool?
    /// What an absolute path leads to.
    package var entry: @Sendable (String) -> Entry?
    /// Whether an interface of the machine has this IPv4 or IPv6 address.
    package var hasAddress: @Sendable (String) -> Bool?
    /// The bytes of a regular file; nil too if it is larger than ``maximumEnvironmentFileSize``.
    package var contents: @Sendable (String) -> [UInt8]?

    /// Creates a way to look things up.
    package init(
        hasUser: @escaping @Sendable (String) -> Bool?, hasUserID: @escaping @Sendable (UInt32) -> Bool?,
        hasGroup: @escaping @Sendable (String) -> Bool?, entry: @escaping @Sendable (String) -> Entry?,
        hasAddress: @escaping @Sendable (String) -> Bool?,
        contents: @escaping @Sendable (String) -> [UInt8]?
    ) {
        self.hasUser = hasUser
        self.hasUserID = hasUserID
        self.hasGroup = hasGroup
        self.entry = entry
        self.hasAddress = hasAddress
        self.contents = contents
    }
}
