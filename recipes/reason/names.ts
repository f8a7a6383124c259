/** People of the problems. */
export const NAMES = [
  'Ann', 'Bob', 'Cid', 'Dan', 'Eve', 'Finn', 'Gail', 'Hugo', 'Ida', 'Jack', 'Kate', 'Leo', 'Mia',
  'Ned', 'Olga', 'Paul', 'Rosa', 'Sam', 'Tina', 'Uma', 'Vera', 'Will', 'Yara', 'Zoe', 'Alice',
  'Ben', 'Carol', 'David', 'Emma', 'Frank', 'Grace', 'Henry', 'Ivan', 'Jane', 'Karl', 'Lucy',
  'Mary', 'Nora', 'Oscar', 'Peter', 'Ruth', 'Sara', 'Tom', 'Victor', 'Wendy', 'John', 'Anna',
  'Max',
] as const;
