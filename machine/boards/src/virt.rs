//! The `virt` board: devices in their slots, and their wires.

use crate::error::BoardError;
use crate::fdt::{self, Chosen};
use crate::routes::{Ecam, PciWindow, Transport};
use crate::spec::{MachineSpec, Role, Slot, VIRT};
use isomorph_devices::aclint::{self, Aclint, HartLines};
use isomorph_devices::finisher::{self, Finisher};
use isomorph_devices::flash::{self, Flash};
use isomorph_devices::fw_cfg::{self, FwCfg, Key};
use isomorph_devices::pci::{PciHost, Range, Windows};
use isomorph_devices::plic::{self, Plic};
use isomorph_devices::rtc::{self, Rtc};
use isomorph_devices::serial::{self, Serial, SerialBackend};
use isomorph_devices::virtio::mmio::VirtioMmio;
use isomorph_devices::virtio::pci::VirtioPci;
use isomorph_devices::virtio::{Line, VirtioDevice};
use isomorph_machine::{Clock, Device, IrqLine, IrqSink, Life, Timebase};
use isomorph_softmmu::{
    AccessRules, AddressSpace, Backing, DmaMemory, Mmio, RamBlock, Region, RegionId, RomSwitch,
};
use std::sync::Arc;

/// Pin of a hart: machine software interrupt, as the bit in `mip`.
pub const PIN_MSI: u32 = 3;
/// Pin of a hart: machine timer interrupt.
pub const PIN_MTI: u32 = 7;
/// Pin of a hart: supervisor external interrupt.
pub const PIN_SEI: u32 = 9;
/// Pin of a hart: machine external interrupt.
pub const PIN_MEI: u32 = 11;

/// What the device tree says of a hart (the binding riscv/extensions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaDescription {
    /// The old string of everything.
    pub isa: String,
    /// The base: `rv64i`.
    pub base: String,
    /// The extensions.
    pub extensions: Vec<String>,
    /// The largest translation mode, as `riscv,sv57`; `None`: no address translation.
    pub mmu_type: Option<String>,
}

impl IsaDescription {
    /// A 64-bit hart with these extensions: single letters first, in the manual's order.
    pub fn rv64(extensions: &[&str], mmu_type: Option<&str>) -> Self {
        let mut isa = String::from("rv64");
        for extension in extensions {
            if extension.len() > 1 {
                isa.push('_');
            }
            isa.push_str(extension);
        }
        Self {
            isa,
            base: "rv64i".to_owned(),
            extensions: extensions.iter().map(|&name| name.to_owned()).collect(),
            mmu_type: mmu_type.map(str::to_owned),
        }
    }
}

/// What a machine is to have.
#[derive(Clone, Debug)]
pub struct VirtConfig {
    /// Number of harts.
    pub harts: usize,
    /// Bytes of RAM.
    pub ram_bytes: u64,
    /// What the harts are.
    pub isa: IsaDescription,
    /// Contents of the flash banks; a bank without any reads as zeros.
    pub flash: [Option<FlashImage>; 2],
}

/// Contents of a flash bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashImage {
    /// The first bytes.
    pub bytes: Vec<u8>,
    /// Programming and erasing fail.
    pub read_only: bool,
}

/// A machine of the `virt` kind, without its vCPUs.
pub struct Virt {
    spec: &'static MachineSpec,
    config: VirtConfig,
    space: Arc<AddressSpace>,
    ram: Arc<RamBlock>,
    life: Arc<Life>,
    time: Arc<Timebase>,
    plic: Arc<Plic>,
    aclint: Arc<Aclint>,
    serial: Arc<Serial>,
    rtc: Arc<Rtc>,
    fw_cfg: Arc<FwCfg>,
    flash: Vec<Arc<Flash>>,
    pci: Arc<PciHost>,
    /// The virtio-mmio transports, empty or not.
    transports: Vec<RegionId>,
    devices: Vec<Arc<dyn Device>>,
}

impl Virt {
    /// Builds the machine into an empty `space`.
    ///
    /// `pins` are the interrupt pins of the harts, by hart id; `serial` is at the other end of the
    /// UART. The virtio transports and the PCI bus are empty.
    ///
    /// # Errors
    /// The configuration is impossible, or the host has not the memory for it.
    pub fn new(
        config: VirtConfig,
        space: Arc<AddressSpace>,
        clock: Arc<dyn Clock>,
        life: Arc<Life>,
        pins: &[Arc<dyn IrqSink>],
        serial: Arc<dyn SerialBackend>,
    ) -> Result<Self, BoardError> {
        let spec = &VIRT;
        let harts = config.harts;
        if harts == 0 || harts > spec.harts_max || pins.len() != harts {
            return Err(BoardError::Harts(harts));
        }
        let ram = RamBlock::new("virt.ram", config.ram_bytes)?;
        let backing = Backing::Ram(ram.clone(), 0);
        let bytes = config.ram_bytes;
        space.add(Region::new("ram", spec.ram_base, bytes, 0, backing)?);
        let time = Timebase::new(clock.clone(), spec.timebase);
        let line = |hart: &Arc<dyn IrqSink>, pin| IrqLine::new(hart.clone(), pin);
        // Contexts 2n and 2n + 1: machine and supervisor mode of hart n.
        let contexts = pins
            .iter()
            .flat_map(|hart| [PIN_MEI, PIN_SEI].map(|pin| line(hart, pin)));
        let plic = Plic::new(spec.sources, contexts.collect());
        let lines = pins.iter().map(|hart| HartLines {
            software: line(hart, PIN_MSI),
            timer: line(hart, PIN_MTI),
        });
        let aclint = Aclint::new(lines.collect(), time.clone());
        let wire = |role| slot_irq(spec, &plic, role);
        let mut board = Self {
            spec,
            ram,
            serial: Serial::new(wire(Role::Serial(0)), serial),
            rtc: Rtc::new(wire(Role::Rtc), clock),
            fw_cfg: FwCfg::new(&space),
            flash: Vec::new(),
            pci: pci_host(spec, config.ram_bytes, &plic),
            transports: Vec::new(),
            devices: Vec::new(),
            config,
            space,
            life,
            time,
            plic,
            aclint,
        };
        board.place()?;
        Ok(board)
    }

    /// Puts every device into its slot.
    fn place(&mut self) -> Result<(), BoardError> {
        let finisher = Finisher::new(self.life.clone());
        self.map(Role::Finisher, finisher, finisher::RULES)?;
        self.map(Role::Rtc, self.rtc.clone(), rtc::RULES)?;
        self.map(Role::Clint, self.aclint.clone(), aclint::RULES)?;
        self.map(Role::Plic, self.plic.clone(), plic::RULES)?;
        self.map(Role::Serial(0), self.serial.clone(), serial::RULES)?;
        self.map(Role::FwCfg, self.fw_cfg.clone(), fw_cfg::RULES)?;
        self.place_rom()?;
        self.place_pci()?;
        self.place_transports()?;
        for index in 0..self.config.flash.len() {
            self.place_flash(index)?;
        }
        self.fw_cfg
            .set(Key::RamSize, &self.config.ram_bytes.to_le_bytes());
        let harts = self.config.harts as u16;
        self.fw_cfg.set(Key::NbCpus, &harts.to_le_bytes());
        self.fw_cfg.set(Key::MaxCpus, &harts.to_le_bytes());
        // Lines are driven by devices: these first, the controllers that listen after them.
        let devices: [Arc<dyn Device>; 5] = [
            self.serial.clone(),
            self.rtc.clone(),
            self.fw_cfg.clone(),
            self.aclint.clone(),
            self.plic.clone(),
        ];
        self.devices.extend(devices);
        Ok(())
    }

    fn place_rom(&self) -> Result<(), BoardError> {
        let slot = self.slot(Role::BootRom)?;
        let rom = RamBlock::new("virt.rom", slot.len)?;
        let backing = Backing::Rom(rom, 0);
        let region = Region::new(slot.name, slot.base, slot.len, 0, backing)?;
        self.space.add(region);
        Ok(())
    }

    fn place_flash(&mut self, index: usize) -> Result<(), BoardError> {
        let slot = self.slot(Role::Flash(index as u32))?;
        let name = format!("virt.flash{index}");
        let ram = RamBlock::new(&name, slot.len)?;
        // What is not given stays zero: erased bytes would cost 32 MiB of host memory.
        let image = self.config.flash[index].take();
        if let Some(FlashImage { bytes, .. }) = &image
            && !ram.write(0, bytes)
        {
            return Err(BoardError::Flash {
                index,
                bytes: bytes.len(),
                room: slot.len,
            });
        }
        let read_only = image.is_some_and(|image| image.read_only);
        let device = Flash::new(ram.clone(), 0, slot.len, read_only);
        let backing = Backing::Flash {
            ram,
            offset: 0,
            device: device.clone(),
            rules: flash::RULES,
        };
        let id = self
            .space
            .add(Region::new(&name, slot.base, slot.len, 0, backing)?);
        device.connect(RomSwitch::new(&self.space, id));
        self.flash.push(device.clone());
        self.devices.push(device);
        Ok(())
    }

    fn place_pci(&mut self) -> Result<(), BoardError> {
        let ecam = Arc::new(Ecam(self.pci.clone()));
        self.map(Role::PcieEcam, ecam.clone(), AccessRules::ANY)?;
        let ports = PciWindow::ports(&self.pci);
        self.map(Role::PciePorts, ports, AccessRules::ANY)?;
        let low = PciWindow::low(&self.pci);
        self.map(Role::PcieLow, low, AccessRules::ANY)?;
        let (base, len) = self.spec.pcie_high(self.config.ram_bytes);
        let high = Backing::Mmio(PciWindow::high(&self.pci), AccessRules::ANY);
        let region = Region::new("pcie-mmio-high", base, len, 0, high)?;
        self.space.add(region);
        self.devices.push(ecam);
        Ok(())
    }

    fn place_transports(&mut self) -> Result<(), BoardError> {
        for number in 0.. {
            let role = Role::VirtioMmio(number);
            if self.spec.slot(role).is_none() {
                break;
            }
            let empty = Arc::new(Transport(VirtioMmio::<DmaMemory>::empty()));
            let id = self.map(role, empty, AccessRules::ANY)?;
            self.transports.push(id);
        }
        Ok(())
    }

    /// Puts a virtio device into a virtio-mmio transport, in place of what was there.
    ///
    /// # Errors
    /// There is no such transport.
    pub fn attach_mmio(
        &mut self,
        number: u32,
        device: Box<dyn VirtioDevice<DmaMemory>>,
    ) -> Result<(), BoardError> {
        let role = Role::VirtioMmio(number);
        let index = number as usize;
        let old = *self.transports.get(index).ok_or(BoardError::NoSlot(role))?;
        let line = wire(self.irq(role));
        let transport = VirtioMmio::new(device, Arc::new(self.dma()), line);
        let transport = Arc::new(Transport(transport));
        self.space.remove(old);
        self.transports[index] = self.map(role, transport.clone(), AccessRules::ANY)?;
        self.devices.push(transport);
        Ok(())
    }

    /// Puts a virtio device onto the PCI bus; in `slot`, or in the lowest that is free. The slot.
    ///
    /// # Errors
    /// There is no such slot, or none is free.
    pub fn attach_pci(
        &self,
        slot: Option<u8>,
        device: Box<dyn VirtioDevice<DmaMemory>>,
    ) -> Result<u8, BoardError> {
        let slot = slot.map_or_else(|| self.pci.free_slot(), Ok)?;
        // Function 0, INTA.
        let line = Box::new(self.pci.intx(slot, 0, 1));
        let function = VirtioPci::new(device, Arc::new(self.dma()), line);
        self.pci.add(slot, 0, Arc::new(function))?;
        Ok(slot)
    }

    /// The PCIe host.
    pub fn pci(&self) -> &Arc<PciHost> {
        &self.pci
    }

    fn slot(&self, role: Role) -> Result<&'static Slot, BoardError> {
        self.spec.slot(role).ok_or(BoardError::NoSlot(role))
    }

    /// Puts the registers of a device into a slot.
    ///
    /// # Errors
    /// The machine has no such slot.
    pub fn map(
        &self,
        role: Role,
        device: Arc<dyn Mmio>,
        rules: AccessRules,
    ) -> Result<RegionId, BoardError> {
        let slot = self.slot(role)?;
        let backing = Backing::Mmio(device, rules);
        let region = Region::new(&slot.full_name(), slot.base, slot.len, 0, backing)?;
        Ok(self.space.add(region))
    }

    /// The interrupt line of a slot; unconnected if it has none.
    pub fn irq(&self, role: Role) -> IrqLine {
        slot_irq(self.spec, &self.plic, role)
    }

    /// Adds a device that is reset with the machine.
    pub fn add_device(&mut self, device: Arc<dyn Device>) {
        self.devices.push(device);
    }

    /// All devices and RAM as after power-on but for RAM's contents.
    pub fn reset(&self) {
        self.devices.iter().for_each(|device| device.reset());
    }

    /// The device tree.
    ///
    /// # Errors
    /// The command line or a name cannot stand in a device tree.
    pub fn device_tree(&self, chosen: &Chosen) -> Result<Vec<u8>, BoardError> {
        Ok(fdt::build(self.spec, &self.config, chosen)?)
    }

    /// Addresses and interrupts.
    pub fn spec(&self) -> &'static MachineSpec {
        self.spec
    }

    /// What the machine has.
    pub fn config(&self) -> &VirtConfig {
        &self.config
    }

    /// The guest-physical space.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.space
    }

    /// RAM.
    pub fn ram(&self) -> &Arc<RamBlock> {
        &self.ram
    }

    /// RAM for virtqueues.
    pub fn dma(&self) -> DmaMemory {
        self.space.view().dma()
    }

    /// Running, paused, over.
    pub fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// What `rdtime` reads.
    pub fn time(&self) -> &Arc<Timebase> {
        &self.time
    }

    /// The UART.
    pub fn serial(&self) -> &Arc<Serial> {
        &self.serial
    }

    /// A flash bank.
    pub fn flash(&self, index: usize) -> Option<&Arc<Flash>> {
        self.flash.get(index)
    }

    /// How often each device has raised its interrupt, by the name of its slot.
    pub fn interrupts(&self) -> Vec<(String, u64)> {
        let pcie = self.spec.pcie.first_irq;
        let name = |source| {
            let slot = self.spec.slots.iter().find(|slot| slot.irq == Some(source));
            // The sources that are no slot's are the PCIe host's: INTA to INTD.
            slot.map_or_else(
                || format!("pcie-int{}", source.wrapping_sub(pcie)),
                Slot::full_name,
            )
        };
        let raised = self.plic.raised();
        raised
            .map(|(source, count)| (name(source), count))
            .collect()
    }

    /// Firmware configuration.
    pub fn fw_cfg(&self) -> &Arc<FwCfg> {
        &self.fw_cfg
    }
}

fn slot_irq(spec: &MachineSpec, plic: &Arc<Plic>, role: Role) -> IrqLine {
    let irq = spec.slot(role).and_then(|slot| slot.irq);
    irq.map_or_else(IrqLine::unconnected, |irq| plic.line(irq))
}

/// An interrupt line as virtio and PCI drive it.
fn wire(line: IrqLine) -> Box<dyn Line> {
    Box::new(move |high: bool| line.set(high))
}

fn pci_host(spec: &MachineSpec, ram_bytes: u64, plic: &Arc<Plic>) -> Arc<PciHost> {
    let window = |role| {
        let slot = spec.slot(role);
        slot.map_or((0, 0), |slot| (slot.base, slot.len))
    };
    let range = |(base, size)| Range { base, size };
    let windows = Windows {
        // Ports have addresses of their own, from 0.
        io: range((0, window(Role::PciePorts).1)),
        memory32: range(window(Role::PcieLow)),
        memory64: range(spec.pcie_high(ram_bytes)),
    };
    let lines = [0, 1, 2, 3].map(|pin| wire(plic.line(spec.pcie.first_irq + pin)));
    Arc::new(PciHost::new(windows, lines))
}
