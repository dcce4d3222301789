pub struct MemoryStock;
