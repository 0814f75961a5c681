//! The scoreboard's layouts, told apart by what must hold between them and the process table.
