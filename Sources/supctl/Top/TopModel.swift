import ControlAPI

/// What the full-screen view shows and what its keys do, without a terminal.
struct TopModel {
    /// What the rows are sorted by.
    enum Order: String, CaseIterable {
        case manifest, name, cpu, memory, connections, restarts
    }

    /// What is on the screen.
    enum View: Equatable {
        case table
        /// The last lines of an instance's log.
        case logs(String)
        /// All that is known of a service.
        case detail(String)
        /// Why an instance is as it is.
        case why(String)
        case help
    }

    /// What a key is taken for.
    enum Prompt: Equatable {
        case none
        /// The text so far.
        case filter(String)
        /// Whether to restart this instance.
        case restart(String)
    }

    /// What has to be done for a key.
    enum Effect: Equatable {
        case quit, suspend, redraw
        case restart(String)
        /// The page of the view is wanted.
        case load
    }

    private(set) var view = View.table
    private(set) var prompt = Prompt.none
    private(set) var order = Order.manifest
    private(set) var filter = ""
    /// The selected instance; where it is gone, the row in its place takes over.
    private(set) var selected: String?
    /// How far the page is scrolled: lines from its top; of a log from its end.
    private(set) var scroll = 0
    /// What is said in the last line until a key is pressed.
    var message: String?
    private(set) var report: StatusReport?
    private var samples = TopSamples()
    private var usage: [String: InstanceUsage] = [:]
    private var all: [TopRow] = []
    /// The lines of the view, other than the table.
    private(set) var page: [String] = []
    private var selectedIndex = 0

    /// Nothing was heard yet.
    init() {}

    /// The rows to be shown, sorted and filtered.
    private(set) var rows: [TopRow] = []

    // MARK: What comes in

    /// A new sample.
    mutating func update(_ report: StatusReport) {
        self.report = report
        all = samples.rows(report, usage)
        arrange()
        if case .detail(let name) = view, let service = report.services.first(where: { $0.name == name }) {
            page = StatusDetail.text(service, width: nil, allowsColour: false).lines
        }
    }

    /// What has been used of late, for the rows from the next sample on.
    mutating func update(_ report: UsageReport) {
        usage = Dictionary(report.instances.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The answer to why.
    mutating func showWhy(_ instance: String, _ lines: [String]) {
        if view == .why(instance) { page = lines }
    }

    /// The text of a log.
    mutating func showLog(of instance: String, _ lines: [String]) {
        if view == .logs(instance) { page = lines }
    }

    private mutating func arrange() {
        var shown = filter.isEmpty ? all : all.filter { $0.id.contains(filter) || $0.state.contains(filter) }
        switch order {
        case .manifest: break
        case .name: shown.sort { $0.id < $1.id }
        case .cpu: Self.sort(&shown) { $0.cpu ?? -1 }
        case .memory: Self.sort(&shown) { Double($0.memory ?? 0) }
        case .connections: Self.sort(&shown) { Double($0.connections ?? 0) }
        case .restarts: Self.sort(&shown) { Double($0.restarts) }
        }
        rows = shown
        if let selected, let index = rows.firstIndex(where: { $0.id == selected }) {
            selectedIndex = index
        } else {
            select(selectedIndex)
        }
    }

    /// The largest first; equal ones as they were.
    private static func sort(_ rows: inout [TopRow], by value: (TopRow) -> Double) {
        rows = rows.enumerated().sorted {
            let (first, second) = (value($0.element), value($1.element))
            return first == second ? $0.offset < $1.offset : first > second
        }.map(\.element)
    }

    private mutating func select(_ index: Int) {
        selectedIndex = max(0, min(index, rows.count - 1))
        selected = selectedIndex < rows.count ? rows[selectedIndex].id : nil
    }

    /// Where the selected row stands.
    var selectedRow: Int { selectedIndex }

    // MARK: Keys

    /// Takes a key; `height` is how many lines of a page or table are on the screen.
    mutating func press(_ key: TopKey, height: Int) -> Effect? {
        message = nil
        switch key {
        case .interrupt: return .quit
        case .suspend: return .suspend
        case .redraw: return .redraw
        default: break
        }
        switch prompt {
        case .filter(let text): return typeFilter(text, key)
        case .restart(let instance):
            prompt = .none
            guard key == .character("y") || key == .character("Y") else { return nil }
            return .restart(instance)
        case .none: return view == .table ? pressInTable(key, height) : pressInPage(key, height)
        }
    }

    private mutating func typeFilter(_ text: String, _ key: TopKey) -> Effect? {
        switch key {
        case .enter:
            prompt = .none
            return nil
        case .escape: (filter, prompt) = ("", .none)
        case .backspace: (filter, prompt) = (String(text.dropLast()), .filter(String(text.dropLast())))
        case .character(let scalar):
            // No name is longer.
            guard text.count < 80 else { return nil }
            (filter, prompt) = (text + String(scalar), .filter(text + String(scalar)))
        default: return nil
        }
        arrange()
        return nil
    }

    private mutating func pressInTable(_ key: TopKey, _ height: Int) -> Effect? {
        switch key {
        case .up, .character("k"): select(selectedIndex - 1)
        case .down, .character("j"): select(selectedIndex + 1)
        case .pageUp: select(selectedIndex - max(1, height))
        case .pageDown, .character(" "): select(selectedIndex + max(1, height))
        case .home, .character("g"): select(0)
        case .end, .character("G"): select(rows.count - 1)
        case .character("s"): sortByNext()
        case .character("/"): prompt = .filter(filter)
        case .escape:
            filter = ""
            arrange()
        case .enter:
            return open(rows.dropFirst(selectedIndex).first.map { .detail($0.service) })
        case .character("l"):
            return open(selected.map { .logs($0) })
        case .character("w"):
            return open(selected.map { .why($0) })
        case .character("r"):
            prompt = selected.map { .restart($0) } ?? .none
        case .character("?"), .character("h"): return open(.help)
        case .character("q"): return .quit
        default: break
        }
        return nil
    }

    private mutating func sortByNext() {
        let orders = Order.allCases
        let index = orders.firstIndex(of: order) ?? 0
        order = orders[(index + 1) % orders.count]
        arrange()
        message = "sorted by \(order.rawValue)"
    }

    private mutating func open(_ next: View?) -> Effect? {
        guard let next else { return nil }
        (view, scroll, page) = (next, 0, [])
        switch next {
        case .table: return nil
        case .help: page = Self.help.lines
        case .detail: if let report { update(report) }
        case .why:
            page = ["…"]
            return .load
        case .logs: return .load
        }
        return nil
    }

    private mutating func pressInPage(_ key: TopKey, _ height: Int) -> Effect? {
        // A log is read from its end.
        let isLog = if case .logs = view { true } else { false }
        let most = max(0, page.count - max(1, height))
        func moved(_ lines: Int) -> Int { max(0, min(scroll + (isLog ? -lines : lines), most)) }
        switch key {
        case .up, .character("k"): scroll = moved(-1)
        case .down, .character("j"): scroll = moved(1)
        case .pageUp: scroll = moved(-max(1, height))
        case .pageDown, .character(" "): scroll = moved(max(1, height))
        case .home, .character("g"): scroll = isLog ? most : 0
        case .end, .character("G"): scroll = isLog ? 0 : most
        case .escape, .backspace, .character("q"), .enter: (view, page, scroll) = (.table, [], 0)
        default: break
        }
        return nil
    }

    private static let help = """
        ↑ ↓ j k PgUp PgDn Home End   select an instance, or scroll
        Enter                        all that is known of its service
        l                            its log, as it is written
        w                            why it is as it is, as "supctl why" tells it
        r                            restart it; asks first
        s                            sort by the next of manifest, name, cpu, memory, connections, restarts
        /                            show only those whose name or state contains a text; Esc ends it
        Esc, q                       back; in the table q ends supctl
        Ctrl-L                       draw anew

        CPU is that of the last second, in per cent of one core; beside it the last half minute.
        MEM 1H is memory in the last hour, as far as supd has looked ("supctl help usage"); THR and FDS are threads
        and open descriptors, up to ten seconds old.
        CONN is what the balancer has open to an instance, WAIT what waits for any of its service.
        """
}

extension String {
    /// Its lines; an end of line at the end begins no other one.
    var lines: [String] {
        var lines = split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }
}
