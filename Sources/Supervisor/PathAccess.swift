import Platform

/// Looks for what in a path keeps a user out, by owners and permission bits; access control lists are not looked at.
struct PathAccess {
    /// The user's id.
    var user: UInt32
    /// All the user's groups.
    var groups: Set<UInt32>

    /// What keeps the user from running the program at a path, as the end of a sentence; nil if nothing shows.
    func hindranceToExecute(_ path: String) -> String? {
        if let folder = closedFolder(above: path) { return "\(describedUser) may not enter \(folder)" }
        guard let status = try? Files.status(path) else { return nil }
        switch status.kind {
        case .directory: return "it is a directory"
        case .other: return "it is not a regular file"
        case .regular: break
        }
        if status.mode & 0o111 == 0 { return "it is not executable; use chmod +x" }
        if !allows(status, 0o1) { return "its permissions (\(octal(status.mode))) do not let \(describedUser) run it" }
        if Files.forbidsPrograms(path) { return "its file system is mounted with noexec" }
        return nil
    }

    /// What keeps the user from working in a directory, as the end of a sentence; nil if nothing shows.
    func hindranceToEnter(_ path: String) -> String? {
        closedFolder(above: path + "/.").map { "\(describedUser) may not enter \($0)" }
    }

    private var describedUser: String { userName(user) }

    /// The first directory on the way to a path that the user may not search.
    private func closedFolder(above path: String) -> String? {
        var folder = ""
        for name in path.split(separator: "/").dropLast() {
            folder += "/\(name)"
            guard let status = try? Files.status(folder) else { return nil }
            if status.kind == .directory, !allows(status, 0o1) { return folder }
        }
        return nil
    }

    /// path_resolution(7): the first class that fits decides alone.
    private func allows(_ status: Files.Status, _ bit: UInt32) -> Bool {
        if user == 0 { return true }
        if status.user == user { return status.mode & (bit << 6) != 0 }
        if groups.contains(status.group) { return status.mode & (bit << 3) != 0 }
        return status.mode & bit != 0
    }

    private func octal(_ mode: UInt32) -> String { "0" + String(mode & 0o777, radix: 8) }
}
