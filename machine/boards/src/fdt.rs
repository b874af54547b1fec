//! The device tree, derived from the machine's specification (Devicetree Specification 0.4 and the
//! bindings of the devices).

use crate::spec::{MachineSpec, Role, Slot};
use crate::virt::{IsaDescription, VirtConfig};
use vm_fdt::{Error, FdtWriter};

/// Bytes that a cache-block operation works on (the binding riscv/cpus).
const CACHE_BLOCK: u32 = 64;
/// Extensions with such operations, and the properties that tell their size.
const BLOCK_SIZES: [(&str, &str); 3] = [
    ("zicbom", "riscv,cbom-block-size"),
    ("zicbop", "riscv,cbop-block-size"),
    ("zicboz", "riscv,cboz-block-size"),
];

/// What `/chosen` tells the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Its command line.
    pub bootargs: Option<String>,
    /// Where the initial RAM disk lies: first address and the one after the last.
    pub initrd: Option<(u64, u64)>,
    /// Bytes that nobody can guess.
    pub rng_seed: Option<[u8; 32]>,
}

/// Interrupts of a hart's own controller (privileged manual, `mcause`).
const MSI: u32 = 3;
const MTI: u32 = 7;
const SEI: u32 = 9;
const MEI: u32 = 11;

/// PCI address spaces in `ranges` (PCI bus binding): I/O, 32-bit and 64-bit memory.
const PCI_PORTS: u32 = 0x0100_0000;
const PCI_LOW: u32 = 0x0200_0000;
const PCI_HIGH: u32 = 0x0300_0000;

/// Phandles: two for each hart, then these.
struct Handles {
    harts: u32,
}

impl Handles {
    fn cpu(hart: u32) -> u32 {
        1 + hart * 2
    }

    fn cpu_intc(hart: u32) -> u32 {
        2 + hart * 2
    }

    fn plic(&self) -> u32 {
        1 + self.harts * 2
    }

    fn finisher(&self) -> u32 {
        2 + self.harts * 2
    }
}

struct Tree<'a> {
    fdt: FdtWriter,
    spec: &'a MachineSpec,
    config: &'a VirtConfig,
    handles: Handles,
}

/// The high and the low cell of a number.
fn cells(value: u64) -> [u32; 2] {
    [(value >> 32) as u32, value as u32]
}

fn range(base: u64, len: u64) -> [u32; 4] {
    let ([a, b], [c, d]) = (cells(base), cells(len));
    [a, b, c, d]
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&string| string.to_owned()).collect()
}

/// The flattened device tree of a machine.
///
/// # Errors
/// A name or a string cannot stand in a device tree.
pub(crate) fn build(
    spec: &MachineSpec,
    config: &VirtConfig,
    chosen: &Chosen,
) -> Result<Vec<u8>, Error> {
    let harts = config.harts as u32;
    let mut tree = Tree {
        fdt: FdtWriter::new()?,
        spec,
        config,
        handles: Handles { harts },
    };
    let root = tree.fdt.begin_node("")?;
    tree.fdt.property_u32("#address-cells", 2)?;
    tree.fdt.property_u32("#size-cells", 2)?;
    tree.fdt.property_string("compatible", spec.compatible)?;
    tree.fdt.property_string("model", spec.model)?;
    tree.chosen(chosen)?;
    tree.memory()?;
    tree.cpus()?;
    tree.flash()?;
    tree.fw_cfg()?;
    tree.power("poweroff", "syscon-poweroff", 0x5555)?;
    tree.power("reboot", "syscon-reboot", 0x7777)?;
    tree.soc()?;
    tree.fdt.end_node(root)?;
    tree.fdt.finish()
}

impl Tree<'_> {
    fn chosen(&mut self, chosen: &Chosen) -> Result<(), Error> {
        let node = self.fdt.begin_node("chosen")?;
        if let Some(bootargs) = &chosen.bootargs {
            self.fdt.property_string("bootargs", bootargs)?;
        }
        if let Some((start, end)) = chosen.initrd {
            self.fdt.property_u64("linux,initrd-start", start)?;
            self.fdt.property_u64("linux,initrd-end", end)?;
        }
        if let Some(seed) = &chosen.rng_seed {
            self.fdt.property("rng-seed", seed)?;
        }
        if let Some(serial) = self.spec.slot(Role::Serial(0)) {
            let path = format!("/soc/serial@{:x}", serial.base);
            self.fdt.property_string("stdout-path", &path)?;
        }
        self.fdt.end_node(node)
    }

    fn memory(&mut self) -> Result<(), Error> {
        let base = self.spec.ram_base;
        let node = self.fdt.begin_node(&format!("memory@{base:x}"))?;
        self.fdt.property_string("device_type", "memory")?;
        let reg = range(base, self.config.ram_bytes);
        self.fdt.property_array_u32("reg", &reg)?;
        self.fdt.end_node(node)
    }

    fn cpus(&mut self) -> Result<(), Error> {
        let node = self.fdt.begin_node("cpus")?;
        self.fdt.property_u32("#address-cells", 1)?;
        self.fdt.property_u32("#size-cells", 0)?;
        let frequency = self.spec.timebase as u32;
        self.fdt.property_u32("timebase-frequency", frequency)?;
        for hart in 0..self.handles.harts {
            self.cpu(hart)?;
        }
        let map = self.fdt.begin_node("cpu-map")?;
        let cluster = self.fdt.begin_node("cluster0")?;
        for hart in 0..self.handles.harts {
            let core = self.fdt.begin_node(&format!("core{hart}"))?;
            self.fdt.property_u32("cpu", Handles::cpu(hart))?;
            self.fdt.end_node(core)?;
        }
        self.fdt.end_node(cluster)?;
        self.fdt.end_node(map)?;
        self.fdt.end_node(node)
    }

    fn cpu(&mut self, hart: u32) -> Result<(), Error> {
        let IsaDescription {
            isa,
            base,
            extensions,
            mmu_type,
        } = &self.config.isa;
        let node = self.fdt.begin_node(&format!("cpu@{hart:x}"))?;
        self.fdt.property_string("device_type", "cpu")?;
        self.fdt.property_u32("reg", hart)?;
        self.fdt.property_string("status", "okay")?;
        self.fdt.property_string("compatible", "riscv")?;
        self.fdt.property_string("riscv,isa", isa)?;
        self.fdt.property_string("riscv,isa-base", base)?;
        let list = extensions.clone();
        self.fdt
            .property_string_list("riscv,isa-extensions", list)?;
        if let Some(mmu_type) = mmu_type {
            self.fdt.property_string("mmu-type", mmu_type)?;
        }
        for (extension, name) in BLOCK_SIZES {
            if extensions.iter().any(|known| known == extension) {
                self.fdt.property_u32(name, CACHE_BLOCK)?;
            }
        }
        self.fdt.property_phandle(Handles::cpu(hart))?;
        let intc = self.fdt.begin_node("interrupt-controller")?;
        self.fdt.property_u32("#interrupt-cells", 1)?;
        self.fdt.property_null("interrupt-controller")?;
        self.fdt.property_string("compatible", "riscv,cpu-intc")?;
        self.fdt.property_phandle(Handles::cpu_intc(hart))?;
        self.fdt.end_node(intc)?;
        self.fdt.end_node(node)
    }

    fn flash(&mut self) -> Result<(), Error> {
        let banks = (0..).map_while(|n| self.spec.slot(Role::Flash(n)));
        let banks: Vec<&Slot> = banks.collect();
        let Some(first) = banks.first() else {
            return Ok(());
        };
        let node = self.fdt.begin_node(&format!("flash@{:x}", first.base))?;
        self.fdt.property_string("compatible", "cfi-flash")?;
        let reg = banks.iter().flat_map(|bank| range(bank.base, bank.len));
        let reg: Vec<u32> = reg.collect();
        self.fdt.property_array_u32("reg", &reg)?;
        self.fdt.property_u32("bank-width", 4)?;
        self.fdt.end_node(node)
    }

    fn fw_cfg(&mut self) -> Result<(), Error> {
        self.device(Role::FwCfg, &["qemu,fw-cfg-mmio"], |tree| {
            tree.fdt.property_null("dma-coherent")
        })
    }

    fn power(&mut self, name: &str, compatible: &str, value: u32) -> Result<(), Error> {
        let node = self.fdt.begin_node(name)?;
        self.fdt.property_string("compatible", compatible)?;
        self.fdt.property_u32("regmap", self.handles.finisher())?;
        self.fdt.property_u32("offset", 0)?;
        self.fdt.property_u32("value", value)?;
        self.fdt.end_node(node)
    }

    fn soc(&mut self) -> Result<(), Error> {
        let soc = self.fdt.begin_node("soc")?;
        self.fdt.property_u32("#address-cells", 2)?;
        self.fdt.property_u32("#size-cells", 2)?;
        self.fdt.property_string("compatible", "simple-bus")?;
        self.fdt.property_null("ranges")?;
        let (plic, finisher) = (self.handles.plic(), self.handles.finisher());
        let sifive = ["sifive,test1", "sifive,test0", "syscon"];
        self.device(Role::Finisher, &sifive, |tree| {
            tree.fdt.property_phandle(finisher)
        })?;
        self.device(Role::Rtc, &["google,goldfish-rtc"], |_| Ok(()))?;
        self.device(Role::Clint, &["sifive,clint0", "riscv,clint0"], |tree| {
            tree.interrupts_extended([MSI, MTI])
        })?;
        let names = ["sifive,plic-1.0.0", "riscv,plic0"];
        self.device(Role::Plic, &names, |tree| {
            tree.fdt.property_u32("#address-cells", 0)?;
            tree.fdt.property_u32("#interrupt-cells", 1)?;
            tree.fdt.property_null("interrupt-controller")?;
            tree.fdt.property_u32("riscv,ndev", tree.spec.sources)?;
            tree.interrupts_extended([MEI, SEI])?;
            tree.fdt.property_phandle(plic)
        })?;
        let clock = self.spec.serial_clock;
        self.device(Role::Serial(0), &["ns16550a"], |tree| {
            tree.fdt.property_u32("clock-frequency", clock)
        })?;
        // Linux finds them in the order of the tree: the last first, as on QEMU's machine.
        let transports = (0..).take_while(|&n| self.spec.slot(Role::VirtioMmio(n)).is_some());
        let transports: Vec<u32> = transports.collect();
        for number in transports.into_iter().rev() {
            self.device(Role::VirtioMmio(number), &["virtio,mmio"], |_| Ok(()))?;
        }
        self.pcie()?;
        self.fdt.end_node(soc)
    }

    /// A node with `compatible`, `reg` and the interrupt of a slot, and what `more` adds.
    fn device(
        &mut self,
        role: Role,
        compatible: &[&str],
        more: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(slot) = self.spec.slot(role) else {
            return Ok(());
        };
        let name = format!("{}@{:x}", slot.name, slot.base);
        let node = self.fdt.begin_node(&name)?;
        let list = strings(compatible);
        self.fdt.property_string_list("compatible", list)?;
        let reg = range(slot.base, slot.len);
        self.fdt.property_array_u32("reg", &reg)?;
        if let Some(irq) = slot.irq {
            let plic = self.handles.plic();
            self.fdt.property_u32("interrupt-parent", plic)?;
            self.fdt.property_u32("interrupts", irq)?;
        }
        more(self)?;
        self.fdt.end_node(node)
    }

    /// Two interrupts of every hart.
    fn interrupts_extended(&mut self, numbers: [u32; 2]) -> Result<(), Error> {
        let [first, second] = numbers;
        let list = (0..self.handles.harts).flat_map(|hart| {
            let intc = Handles::cpu_intc(hart);
            [intc, first, intc, second]
        });
        let list: Vec<u32> = list.collect();
        self.fdt.property_array_u32("interrupts-extended", &list)
    }

    fn pcie(&mut self) -> Result<(), Error> {
        let spec = self.spec;
        let (Some(ports), Some(low)) = (spec.slot(Role::PciePorts), spec.slot(Role::PcieLow))
        else {
            return Ok(());
        };
        let (high, high_len) = spec.pcie_high(self.config.ram_bytes);
        let ranges = [
            pci_range(PCI_PORTS, 0, ports.base, ports.len),
            pci_range(PCI_LOW, low.base, low.base, low.len),
            pci_range(PCI_HIGH, high, high, high_len),
        ];
        let map = self.interrupt_map();
        self.device(Role::PcieEcam, &["pci-host-ecam-generic"], |tree| {
            tree.fdt.property_string("device_type", "pci")?;
            tree.fdt.property_u32("#address-cells", 3)?;
            tree.fdt.property_u32("#interrupt-cells", 1)?;
            tree.fdt.property_u32("#size-cells", 2)?;
            tree.fdt.property_u32("linux,pci-domain", 0)?;
            tree.fdt.property_array_u32("bus-range", &[0, 255])?;
            tree.fdt.property_null("dma-coherent")?;
            tree.fdt
                .property_array_u32("ranges", ranges.as_flattened())?;
            // Two bits of the device number, three of the pin.
            let mask = [0x1800, 0, 0, 7];
            tree.fdt.property_array_u32("interrupt-map-mask", &mask)?;
            tree.fdt.property_array_u32("interrupt-map", &map)
        })
    }

    fn interrupt_map(&self) -> Vec<u32> {
        let plic = self.handles.plic();
        let first = self.spec.pcie.first_irq;
        let entry = |device: u32, pin: u32| {
            let irq = first + (device + pin) % 4;
            [device << 11, 0, 0, pin + 1, plic, irq]
        };
        (0..4)
            .flat_map(|device| (0..4).flat_map(move |pin| entry(device, pin)))
            .collect()
    }
}

/// One entry of the PCI host's `ranges`.
fn pci_range(space: u32, pci: u64, base: u64, len: u64) -> [u32; 7] {
    let ([a, b], [c, d], [e, f]) = (cells(pci), cells(base), cells(len));
    [space, a, b, c, d, e, f]
}
