/// A table of text that fits a width: columns that matter least are left out, those that may are cut short.
struct TextTable {
    /// One column.
    struct Column {
        var title: String
        var alignsRight = false
        /// The smaller, the earlier it is left out; nil: never.
        var importance: Int?
        /// How narrow it may be cut; nil: not at all.
        var shortest: Int?
    }

    /// One cell.
    struct Cell {
        var text: String
        var colour: Colour?

        init(_ text: String, _ colour: Colour? = nil) {
            self.text = printable(text)
            self.colour = colour
        }
    }

    /// A row of cells, or a line of text across all columns.
    enum Row {
        case cells([Cell])
        case line(String)
    }

    var columns: [Column]
    var rows: [Row]

    /// The text, each line with its end. `width` nil: as wide as it is.
    func rendered(width: Int?, allowsColour: Bool) -> String {
        let widths = fittingWidths(width)
        var lines = [
            line(columns.map { Cell($0.title) }, widths, allowsColour: false)
        ]
        for row in rows {
            switch row {
            case .cells(let cells): lines.append(line(cells, widths, allowsColour: allowsColour))
            case .line(let text): lines.append(shortened(printable(text), to: width))
            }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The width of each column; nil for those left out.
    private func fittingWidths(_ width: Int?) -> [Int?] {
        var natural = columns.map { $0.title.count }
        var isEmpty = columns.map { _ in true }
        for case .cells(let cells) in rows {
            for (index, cell) in cells.enumerated() where index < columns.count {
                natural[index] = max(natural[index], cell.text.count)
                if !cell.text.isEmpty { isEmpty[index] = false }
            }
        }
        var widths: [Int?] = zip(natural, isEmpty).map { $1 ? nil : $0 }
        guard let width else { return widths }

        func total(_ widths: [Int?]) -> Int {
            let shown = widths.compactMap { $0 }
            return shown.reduce(0, +) + 2 * max(0, shown.count - 1)
        }
        func narrowest(_ widths: [Int?]) -> [Int?] {
            // What cannot be left out is cut only when nothing else is left to do.
            zip(widths, columns).map { width, column in
                width.map { column.importance == nil ? $0 : min($0, column.shortest ?? $0) }
            }
        }
        while total(narrowest(widths)) > width {
            let droppable = columns.indices.filter { widths[$0] != nil && columns[$0].importance != nil }
            guard let least = droppable.min(by: { (columns[$0].importance ?? 0) < (columns[$1].importance ?? 0) })
            else { break }
            widths[least] = nil
        }
        // Cut what may be cut, the last such column first, no more than needed.
        for index in columns.indices.reversed() {
            guard let current = widths[index], let shortest = columns[index].shortest else { continue }
            let excess = total(widths) - width
            if excess > 0 { widths[index] = max(min(current, shortest), current - excess) }
        }
        return widths
    }

    private func line(_ cells: [Cell], _ widths: [Int?], allowsColour: Bool) -> String {
        var pieces: [String] = []
        for (index, column) in columns.enumerated() {
            guard let width = widths[index] else { continue }
            let cell = index < cells.count ? cells[index] : Cell("")
            let text = shortened(cell.text, to: width)
            let padding = String(repeating: " ", count: max(0, width - text.count))
            let coloured = allowsColour ? cell.colour.map { $0.wrap(text) } ?? text : text
            pieces.append(column.alignsRight ? padding + coloured : coloured + padding)
        }
        var line = pieces.joined(separator: "  ")
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }
}

/// The colours used, as SGR codes of ECMA-48.
enum Colour: String, Sendable {
    case red = "31"
    case green = "32"
    case yellow = "33"
    case blue = "34"
    case magenta = "35"
    case cyan = "36"
    case dim = "2"

    /// The text in this colour.
    func wrap(_ text: String) -> String { "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" }

    /// What a state of a service or an instance looks like.
    static func of(state: String) -> Colour? {
        switch state {
        case "running", "completed": .green
        case "failed": .red
        case "down": .dim
        default: .yellow
        }
    }
}

/// Text cut to a width, with a mark where it was cut.
func shortened(_ text: String, to width: Int?) -> String {
    guard let width, text.count > width else { return text }
    return width < 1 ? "" : String(text.prefix(width - 1)) + "…"
}
