import Platform

/// What the first bytes of a file say about who would run it.
struct ProgramFile: Hashable {
    /// The kinds of programs.
    enum Form: Hashable {
        /// Begins with `#!`; the interpreter's path as written, with a carriage return if the line ends in one.
        case script(interpreter: String)
        /// An ELF program for this e_machine number, with the dynamic loader it asks for, if any.
        case elf(machine: UInt16, loader: String?)
        /// Has no bytes.
        case empty
        /// None of these.
        case other
    }

    /// What it is.
    var form: Form

    /// Reads the first bytes of a file.
    init(path: String) throws(SystemError) {
        self.init(prefix: try Files.readPrefix(path, count: 65_536))
    }

    /// Takes the first bytes of a file.
    init(prefix bytes: [UInt8]) {
        if bytes.isEmpty {
            form = .empty
        } else if bytes.starts(with: "#!".utf8) {
            // binfmt_script of the kernel: blanks, the path, blanks, one argument; 255 bytes of the line count.
            let line = bytes.dropFirst(2).prefix(253).prefix { $0 != 0x0a }.drop { $0 == 0x20 || $0 == 0x09 }
            form = .script(
                interpreter: String(decoding: line.prefix { $0 != 0x20 && $0 != 0x09 && $0 != 0 }, as: UTF8.self))
        } else if let elf = Self.elf(bytes) {
            form = elf
        } else {
            form = .other
        }
    }

    /// What the machine numbers of elf(5) are called; by number for rarer ones.
    static func machineName(_ machine: UInt16) -> String {
        switch machine {
        case 3: "32-bit x86"
        case 8: "MIPS"
        case 20: "32-bit PowerPC"
        case 21: "PowerPC"
        case 22: "s390"
        case 40: "32-bit ARM"
        case 62: "x86-64"
        case 183: "arm64"
        case 243: "RISC-V"
        case 258: "LoongArch"
        default: "machine number \(machine)"
        }
    }

    /// The fields of elf(5) that matter here.
    private static func elf(_ bytes: [UInt8]) -> Form? {
        guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]), bytes.count > 20 else { return nil }
        let is64 = bytes[4] == 2
        let isLittle = bytes[5] != 2
        func number(_ offset: Int, _ size: Int) -> Int? {
            guard offset >= 0, offset <= bytes.count - size else { return nil }
            let field = bytes[offset..<(offset + size)]
            let value = (isLittle ? Array(field.reversed()) : Array(field)).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            // Offsets into the file: anything larger is beyond what was read.
            return value <= UInt64(UInt32.max) ? Int(value) : nil
        }
        guard let machine = number(18, 2) else { return nil }
        var loader: String?
        let size = is64 ? 8 : 4
        if let table = number(is64 ? 32 : 28, size), let entrySize = number(is64 ? 54 : 42, 2),
            let count = number(is64 ? 56 : 44, 2)
        {
            for index in 0..<count {
                let entry = table + index * entrySize
                // PT_INTERP
                guard number(entry, 4) == 3, let start = number(entry + (is64 ? 8 : 4), size),
                    let length = number(entry + (is64 ? 32 : 16), size), start <= bytes.count
                else { continue }
                let text = bytes[start...].prefix(min(length, 4096)).prefix { $0 != 0 }
                loader = String(decoding: text, as: UTF8.self)
                // There is one; a header may claim thousands at the same place.
                break
            }
        }
        return .elf(machine: UInt16(machine), loader: loader)
    }
}
