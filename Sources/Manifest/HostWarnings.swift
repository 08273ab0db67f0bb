/// Warnings about what a manifest names and the machine that checks it does not have: users, groups, directories, files
/// and programs. No errors, since the machine that will run it may be another one, and what is missing may come. Each says
/// that a start would fail, and what to do.
struct HostWarnings {
    let root: FieldTable.Draft
    let services: [NamedDraft]
    let lookup: HostLookup
    /// The manifest's directory, where services without a `directory` run.
    let directory: String
    /// supd's own environment.
    let environment: [String: String]

    /// Of what stands in `defaults` it is enough to say once that it is missing.
    private var said: Set<String> = []

    init(
        root: FieldTable.Draft, services: [NamedDraft], lookup: HostLookup, directory: String,
        environment: [String: String]
    ) {
        self.root = root
        self.services = services
        self.lookup = lookup
        self.directory = directory
        self.environment = environment
    }

    /// Adds them all.
    mutating func run(_ reader: inout FieldReader) {
        if let location = root.balancerUser, let user = root.supd.balancer.user, lookup.hasUser(user) == false {
            add(
                location,
                "there is no user \(quoted(user)) on this machine: the balancer runs as the user supd or an "
                    + "unused uid; create it, or leave the key out", &reader)
        }
        if let actions = root.webActions, lookup.entry(actions.value) == .missing {
            add(
                actions.location,
                "there is no file \(quoted(actions.value)) on this machine: the page would only show; make one that nobody else may read, as by "
                    + "(umask 077; openssl rand -hex 24 >FILE)", &reader)
        }
        for service in services {
            warnOfAccounts(service.draft, &reader)
            warnOfFronts(service.draft, &reader)
            warnOfJournal(service.draft, &reader)
            let directory = warnOfDirectory(service, &reader)
            let path = warnOfFiles(service, &reader)
            if let directory { warnOfProgram(service, in: directory, path: path, &reader) }
        }
    }

    private mutating func add(_ location: Location, _ message: String, _ reader: inout FieldReader) {
        guard said.insert("\(location.offset) \(message)").inserted else { return }
        reader.warnings.add(location, message)
    }

    // MARK: Accounts

    private mutating func warnOfAccounts(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        if let group = draft.group, lookup.hasGroup(group.value) == false, number(group.value) == nil {
            add(
                group.location,
                "there is no group \(quoted(group.value)) on this machine: a start would fail; "
                    + "create it (groupadd), or name another", &reader)
        }
        guard let user = draft.user, lookup.hasUser(user.value) == false else { return }
        guard let number = number(user.value) else {
            return add(
                user.location,
                "there is no user \(quoted(user.value)) on this machine: a start would fail; "
                    + "create it (useradd), or name another", &reader)
        }
        guard draft.group == nil, lookup.hasUserID(number) == false else { return }
        add(
            user.location,
            "the user database of this machine does not know \(number), so its group is unknown: "
                + "a start would fail; set \"group\" as well", &reader)
    }

    /// A decimal id; the highest one means "none" to the kernel.
    private func number(_ text: String) -> UInt32? {
        guard text.utf8.allSatisfy(isDigit), let number = UInt32(text), number != .max else { return nil }
        return number
    }

    // MARK: Fronts

    /// A front that cannot be opened ends the first start of supd.
    private mutating func warnOfFronts(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        for address in draft.listen.compactMap(\.address) {
            switch address.value {
            case .loopback: break
            case .ipv4(let text, _), .ipv6(let text, _):
                guard lookup.hasAddress(text) == false else { break }
                add(
                    address.location,
                    "no interface of this machine has the address \(text): supd would not start; name another", &reader)
            case .unix(let path):
                let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
                if let entry = lookup.entry(parent.isEmpty ? "/" : parent), entry != .directory {
                    add(
                        address.location,
                        "the directory \(quoted(parent)) does not exist on this machine: supd would not start; "
                            + "create it, or name another", &reader)
                    break
                }
                switch lookup.entry(path) {
                case .directory, .file:
                    add(
                        address.location,
                        "\(quoted(path)) is there already and no socket: supd would not start; remove it, or name another",
                        &reader)
                case .missing, .other, nil: break
                }
            }
        }
    }

    // MARK: The journal

    /// Where journald listens.
    private static let journalSocket = "/run/systemd/journal/socket"

    private mutating func warnOfJournal(_ draft: ServiceDraft, _ reader: inout FieldReader) {
        guard draft.log.journal, let location = draft.logJournal, lookup.entry(Self.journalSocket) == .missing else {
            return
        }
        add(
            location,
            "there is no \(Self.journalSocket) on this machine: lines would be in the files only, and counted as not sent; "
                + "leave \"journal\" out where systemd's journal does not run", &reader)
    }

    // MARK: Directory and files

    /// The service's directory; nil if it is not known, or not there, which is enough to say.
    private mutating func warnOfDirectory(_ service: NamedDraft, _ reader: inout FieldReader) -> String? {
        guard let named = service.draft.directory else { return directory }
        guard let path = expanded(named.value, of: service.name) else { return nil }
        switch lookup.entry(path) {
        case .missing:
            add(
                named.location,
                "the directory \(quoted(path)) does not exist on this machine: a start would fail; "
                    + "create it, or name another", &reader)
        case .file, .other:
            add(named.location, "\(quoted(path)) is no directory: a start would fail; name another", &reader)
        case .directory, nil: return path
        }
        return nil
    }

    /// Returns the PATH of the service's processes; `.some(nil)` if they have none, nil if it cannot be told.
    private mutating func warnOfFiles(_ service: NamedDraft, _ reader: inout FieldReader) -> String?? {
        var path: String?? = .some(service.draft.inheritEnvironment.contains("PATH") ? environment["PATH"] : nil)
        for file in service.draft.environmentFiles {
            switch lookup.entry(file.value) {
            case .missing:
                add(
                    file.location,
                    "the file \(quoted(file.value)) does not exist on this machine: a start would fail; "
                        + "create it, if empty, or leave it out", &reader)
            case .directory, .other:
                add(
                    file.location, "\(quoted(file.value)) is no regular file: a start would fail; name another", &reader
                )
            case .file, nil:
                guard let text = lookup.contents(file.value) else {
                    path = nil
                    continue
                }
                do throws(EnvironmentFileError) {
                    if let own = try parseEnvironmentFile(text).last(where: { $0.name == "PATH" }) { path = own.value }
                } catch {
                    add(
                        file.location, "\(quoted(file.value)), \(error): a start would fail; correct the file", &reader)
                }
            }
        }
        guard let own = service.draft.environment?.value.variables.first(where: { $0.name == "PATH" }) else {
            return path
        }
        return expanded(own.value, of: service.name).map { .some($0) }
    }

    // MARK: The program

    private mutating func warnOfProgram(
        _ service: NamedDraft, in directory: String, path: String??, _ reader: inout FieldReader
    ) {
        guard let command = service.draft.command, let first = command.value.first,
            let program = expanded(first, of: service.name)
        else { return }
        // A name with a slash needs none.
        guard let path = program.contains("/") ? .some(nil) : path else { return }
        let candidates = programCandidates(program, path: path, directory: directory)
        var present: (path: String, entry: HostLookup.Entry)?
        for candidate in candidates {
            switch lookup.entry(candidate) {
            case .file(isExecutable: true), nil: return
            case .missing: continue
            case let entry?: present = present ?? (candidate, entry)
            }
        }
        switch present {
        case (let path, .file)?:
            add(
                command.location,
                "\(quoted(path)) is not executable: a start would fail; use chmod +x, or name the "
                    + "interpreter before it", &reader)
        case (let path, _)?:
            add(command.location, "\(quoted(path)) is no program: a start would fail; name another", &reader)
        case nil where program.contains("/"):
            add(
                command.location,
                "the program \(quoted(candidates.first ?? program)) does not exist on this machine: "
                    + "a start would fail; install it, or name another", &reader)
        case nil:
            add(
                command.location,
                "the program \(quoted(program)) is in none of the folders of the service's PATH on this "
                    + "machine: a start would fail; install it, name its whole path, or set PATH in \"environment\"",
                &reader)
        }
    }

    /// A text for the first instance; nil if it depends on the port, which is not known yet.
    private func expanded(_ template: Template, of service: String) -> String? {
        guard !template.parts.contains(.variable(.port)) else { return nil }
        return template.expanded(templateValues(service: service, instance: 1, port: 0))
    }
}
